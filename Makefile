# Two commands: `make run` and `make test`. Each sets up what is missing, once, and says so.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
export PATH := $(PATH):$(CURDIR)/$(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

# One after the other also under make -j: what is timed needs the host for itself.
.NOTPARALLEL:
.PHONY: help run web demo test test-correctness test-timing e2e guests corpus backends lint format bench bench-growth calibrate fuzz soak mutants attacks proto proto-check bpf golden lock audit sbom pictures codes release-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.ready-run ## profile this host: a verdict per Go service, then live
	@$(VENV)/bin/python demo/first.py

web: $(VENV)/.ready-web ## the pages of a collector for this host alone, live
	@$(VENV)/bin/gotax web

demo: $(VENV)/.ready-go ## the production story, oversized against right-sized
	@$(VENV)/bin/python demo/run.py

test: lint test-correctness test-timing ## lint, types, and all tests

lint: $(VENV)/.ready-test ## lint, types, and functions that nothing calls
	@$(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/vulture

# With PYTEST='-k something' one of these two may have no test (5), and that is no failure.
test-correctness: $(VENV)/.ready-test ## the tests that also pass on a busy host, if slowly
	@$(VENV)/bin/python -m pytest --timing=without -n 2 --no-loadscope-reorder $(PYTEST) || [ $$? -eq $(if $(PYTEST),5,-1) ]

test-timing: $(VENV)/.ready-test ## the tests that judge by the clock, and need a quiet host
	@$(VENV)/bin/python -m pytest --timing=only $(PYTEST) || [ $$? -eq $(if $(PYTEST),5,-1) ]

e2e: $(VENV)/.ready-e2e ## a real Kubernetes cluster of one node, and gotax in it (9 minutes; the first time 20)
	@$(VENV)/bin/python -m tests.e2e
	@$(VENV)/bin/python -m pytest tests/e2e $(PYTEST)

guests: $(VENV)/.ready-guests ## other kernels, 4 to 64 CPUs and arm64 in QEMU, NAMES='trixie-amd64-4', SMOKE=1 (hours)
	@$(VENV)/bin/python -m tests.guests $(if $(SMOKE),--smoke) $(NAMES) --pytest='$(PYTEST)'

corpus: $(VENV)/.ready-corpus ## binaries of 26 Go releases and known programs: symbols against Go's own (long)
	@$(VENV)/bin/python -m tests.corpus --check

backends: $(VENV)/.ready-test ## receivers of OTLP, Pyroscope and Parca, and the tests against them (first time: long)
	@$(VENV)/bin/python -m tests.backends
	@$(VENV)/bin/python -m pytest -q tests/backends $(PYTEST)

format: $(VENV)/.ready-test ## rewrite the code in the house's format
	@$(VENV)/bin/ruff check --fix --quiet . && $(VENV)/bin/ruff format --quiet .

bench: $(VENV)/.ready-test ## cost of the agent as deployed, beside other profilers (25 minutes)
	@$(VENV)/bin/python -m bench
	@$(VENV)/bin/python -m bench.symbols

bench-growth: $(VENV)/.ready-test ## how that cost grows with CPUs, processes, starts, binaries, cgroups (50 minutes)
	@$(VENV)/bin/python -m bench.growth

calibrate: $(VENV)/.ready-test ## the runs behind the predicted saving, those that are missing, and the fit (long)
	@$(VENV)/bin/python -m calibration run && $(VENV)/bin/python -m calibration fit
	@$(VENV)/bin/python -m calibration run --set held-out && $(VENV)/bin/python -m calibration validate

fuzz: $(VENV)/.ready-fuzz ## hostile input by the million, MINUTES=30 of CPU time a target
	@$(VENV)/bin/python -m tests.fuzz --minutes $(or $(MINUTES),30)

soak: $(VENV)/.ready-test ## memory of the agent under load, at the end as after five minutes, MINUTES=30
	@$(VENV)/bin/python -m tests.soak --minutes $(or $(MINUTES),30)

mutants: $(VENV)/.ready-test ## small changes of the diagnosis that no test notices, FILES='context.py history.py' (long)
	@$(VENV)/bin/python -m tests.mutants $(FILES)

attacks: $(VENV)/.ready-test ## live attacks on the agent and the collector, the long ones too
	@$(VENV)/bin/python -m pytest tests/attacks --runslow $(PYTEST)

bpf: $(VENV)/.ready-test ## compile bpf/profile.c into bpf/compiled/ for amd64 and arm64, as root
	@$(VENV)/bin/python -m tests.compiled

golden: $(VENV)/.ready-test ## rewrite the golden files; review the diff
	@GOTAX_UPDATE=1 $(VENV)/bin/python -m pytest -q tests/unit --update-golden

proto: ## generate agent/gotax/wire from proto/ with the pinned compiler
	@./setup proto

proto-check: ## lint the wire format, and find changes that break older agents or collectors
	@./setup proto-check

lock: ## the newest versions that pyproject.toml allows, with their hashes, into locks/
	@./setup lock

audit: ## known vulnerabilities of what locks/ names (needs the network)
	@./setup audit

# An image that is there already: make sbom IMAGE=docker:gotax
sbom: $(if $(IMAGE),,$(VENV)/.ready-e2e) ## what the image is made of, as CycloneDX: build/gotax.cdx.json
	@image='$(IMAGE)'; ./setup sbom "$${image:-docker-archive:$$($(VENV)/bin/python -m tests.e2e.cluster.images)}"

pictures: $(VENV)/.ready-web $(VENV)/.ready-test ## docs/pictures, of the demo's service as it runs now (2 minutes)
	@$(VENV)/bin/python -m tests.pictures

codes: $(VENV)/.ready-test ## the collector's page of the codes, from docs/findings.md
	@$(VENV)/bin/python -m tests.codes

# Also the image and its SBOM: make release-check IMAGE=1
release-check: $(VENV)/.ready-test ## the steps of a release that need no registry: versions, packages, chart, workflows
	@$(VENV)/bin/python -m tests.release check $(if $(IMAGE),--image)

clean: ## forget everything that was set up or built inside this clone
	@rm -rf $(VENV) build *.egg-info agent/*.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.ready-%: setup pyproject.toml $(wildcard locks/*.txt)
	@./setup $*
	@touch $@
