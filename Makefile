# Two commands: `make run` and `make test`. Each sets up what is missing, once, and says so.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
export PATH := $(PATH):$(CURDIR)/$(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help run demo test corpus lint format bench calibrate fuzz proto golden clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.ready-run ## profile this host: a verdict per Go service, then live
	@$(VENV)/bin/gotax check || [ $$? -eq 1 ]
	@if [ -t 0 ] && [ -t 1 ]; then $(VENV)/bin/gotax top; fi

demo: $(VENV)/.ready-go ## the production story, oversized against right-sized
	@$(VENV)/bin/python demo/run.py

test: $(VENV)/.ready-test ## lint, types, and all tests
	@$(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/python -m pytest $(PYTEST)

corpus: $(VENV)/.ready-corpus ## binaries of 26 Go releases and known programs: symbols against Go's own (long)
	@$(VENV)/bin/python -m tests.corpus --check

format: $(VENV)/.ready-test ## rewrite the code in the house's format
	@$(VENV)/bin/ruff check --fix --quiet . && $(VENV)/bin/ruff format --quiet .

bench: $(VENV)/.ready-test ## cost of the agent beside other profilers
	@$(VENV)/bin/python -m bench

calibrate: $(VENV)/.ready-test ## the runs behind the predicted saving, those that are missing, and the fit (long)
	@$(VENV)/bin/python -m calibration run && $(VENV)/bin/python -m calibration fit
	@$(VENV)/bin/python -m calibration run --set held-out && $(VENV)/bin/python -m calibration validate

fuzz: $(VENV)/.ready-fuzz ## hostile input by the million, MINUTES=30 of CPU time a target
	@$(VENV)/bin/python -m tests.fuzz --minutes $(or $(MINUTES),30)

golden: $(VENV)/.ready-test ## write the golden files anew, to be read in the diff
	@GOTAX_UPDATE=1 $(VENV)/bin/python -m pytest -q tests/unit --update-golden

proto: ## generate agent/gotax/wire from proto/ with the pinned compiler
	@./setup proto

clean: ## forget everything that was set up or built inside this clone
	@rm -rf $(VENV) build *.egg-info agent/*.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.ready-%: setup pyproject.toml
	@./setup $*
	@touch $@
