"""Recipes: what they recognise in real programs, and what is wrong with files of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from gotax.config import Roots
from gotax.errors import ParseError, UserError
from gotax.processes.files import ProcessFiles
from gotax.reader.asking import InProcess
from gotax.recipe import (
    VALUE_MAX,
    Knob,
    KnobState,
    Recipe,
    Recognition,
    Traits,
    any_matches,
    recognise,
)
from gotax.recipes import load_recipes, parse_recipes

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "recipes.json").read_text()
)
"""Real programs, as /proc had them: see tests/others."""


def found(name: str) -> list[tuple[str, str, int]]:
    """The program, the setting and its value of each recipe that fits a recorded process."""
    process = RECORDED[name]
    recipes = tuple(
        recipe
        for recipe in load_recipes()
        if any_matches(recipe.programs, [process["executable"]])
        and any_matches(recipe.threads, process["threads"])
    )
    traits = Traits(
        frozenset(process["libraries"]), tuple(process["arguments"]), process["environment"]
    )
    return [
        (
            recipes[state.recipe].name,
            recipes[state.recipe].knobs[state.knob].name if state.knob >= 0 else "",
            state.value,
        )
        for state in recognise(recipes, traits)
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python-openblas", [("OpenBLAS", "OPENBLAS_NUM_THREADS", 4)]),
        ("java", [("Java", "-XX:ActiveProcessorCount", 8)]),
        ("java-tool-options", [("Java", "-XX:ActiveProcessorCount in JAVA_TOOL_OPTIONS", 6)]),
        ("tokio", [("Tokio", "TOKIO_WORKER_THREADS", 8)]),
        ("nginx-master", [("nginx", "worker_processes", 3)]),
        ("nginx-worker", [("nginx", "", -1)]),
        ("node", [("Node.js", "UV_THREADPOOL_SIZE", 16)]),
    ],
)
def test_recorded_programs_are_recognised(name: str, expected: list[tuple[str, str, int]]) -> None:
    """Exactly one recipe fits each, with the value that it was started with."""
    assert found(name) == expected


@pytest.mark.parametrize(
    ("knob", "text", "is_set", "value"),
    [
        (Knob("OMP_NUM_THREADS"), "4", True, 4),
        (Knob("OMP_NUM_THREADS"), "4,2", True, 4),
        (Knob("OMP_NUM_THREADS"), " 4", True, 4),
        (Knob("OMP_NUM_THREADS"), "auto", True, None),
        (Knob("OMP_NUM_THREADS"), "", True, None),
        (Knob("OMP_NUM_THREADS"), "0", True, None),
        (Knob("OMP_NUM_THREADS"), "10000000", True, None),
        (Knob("OMP_NUM_THREADS"), str(VALUE_MAX), True, VALUE_MAX),
        (Knob(option="--concurrency"), "envoy\0--concurrency\x0016\0-c\0x", True, 16),
        (Knob(option="--concurrency"), "envoy\0--concurrency=16", True, 16),
        (Knob(option="--concurrency"), "envoy\0--concurrency-limit\x0016", False, None),
        (Knob(option="--concurrency"), "envoy\0x--concurrency\x0016", False, None),
        (Knob(option="--concurrency"), "a\0--concurrency\x002\0--concurrency\x003", True, 3),
        (Knob(option="-w"), "gunicorn\0-w4", True, 4),
        (Knob(option="-w"), "gunicorn\0-worker-class\x004", False, None),
        (Knob(option="worker_processes"), "-g\0daemon off; worker_processes auto;", True, None),
        (Knob(option="-S"), "beam.smp\0-MBas\0ag\0-S\x002:2\0--", True, 2),
        (Knob("ERL_FLAGS", "+S"), "+sbwt none +S 4:4", True, 4),
    ],
)
def test_values_of_knobs(knob: Knob, text: str, is_set: bool, value: int | None) -> None:
    assert (knob.is_in(text), knob.value_in(text) if is_set else None) == (is_set, value)


def test_each_list_has_to_match_and_one_entry_of_it() -> None:
    """A Python without Gunicorn is not Gunicorn, and no list at all asks for nothing."""
    recipe = Recipe("a", (Knob("A"),), "{n}", libraries=("lib*",), arguments=("*x*", "y"))
    assert recognise([recipe], Traits(frozenset({"liba"}), ("y",), {})) == (KnobState(0),)
    assert recognise([recipe], Traits(frozenset({"liba"}), ("z",), {})) == ()
    assert recognise([recipe], Traits(frozenset(), ("y",), {})) == ()
    assert any_matches((), ())
    assert not any_matches(("*",), ["x" * 257])


def test_unread_traits_match_nothing() -> None:
    recipe = Recipe("a", (Knob("A"),), "{n}", libraries=("lib*",))
    assert recognise([recipe], Traits(None, None, None)) == ()


def test_a_live_process_shows_only_its_numbers() -> None:
    """This process, asked by the messages of a reader: no other text of it leaves the reader."""
    variable = next(name for name in os.environ if name.isidentifier())
    recipes = (
        Recipe("libc", (Knob(variable),), "{n}", libraries=("libc.*", "libc-*")),
        Recipe("other", (Knob("GOTAX_NOT_SET"),), "{n}", variables=("GOTAX_NOT_SET",)),
    )
    answer = ProcessFiles(InProcess(), Roots().proc, os.getpid()).recognise(recipes)
    assert [state.recipe for state in answer.found] == [0]
    assert answer.found[0].knob == 0
    assert answer.unread == ""


def test_a_reader_that_lies_is_refused() -> None:
    """Numbers outside of what was asked about would be another program's recipe."""

    class Lying(InProcess):
        answer = Recognition()

        def ask(self, *_: Any) -> Any:
            return self.answer

    reader = Lying()
    recipes = (Recipe("a", (Knob("A"),), "{n}", libraries=("x",)),)
    for state in (KnobState(1), KnobState(0, 1), KnobState(0, 0, VALUE_MAX + 1), KnobState(-1)):
        reader.answer = Recognition((state,))
        with pytest.raises(ParseError):
            ProcessFiles(reader, "/proc", 1).recognise(recipes)


def test_a_process_that_has_no_environment_to_read_is_told(tmp_path: Path) -> None:
    """The list of mapped files is there, the environment is a folder: the reason is named."""
    place = tmp_path / "7"
    place.mkdir()
    (place / "maps").write_text("00400000-00401000 r-xp 00000000 08:01 9 /lib/libgomp.so.1\n")
    (place / "cmdline").write_bytes(b"x\0")
    (place / "environ").mkdir()
    answer = ProcessFiles(InProcess(), str(tmp_path), 7).recognise(load_recipes()[3:4])
    assert answer == Recognition((KnobState(0),), "procfs-unreadable")


GOOD = """
[[recipe]]
name = "imaged"
programs = ["imaged"]
knobs = [{ variable = "IMAGED_THREADS" }, { option = "--threads" }]
advice = "Set IMAGED_THREADS to {n}."
"""


def test_a_users_file_adds_and_replaces(tmp_path: Path) -> None:
    """The user's recipes come first; one of the same name replaces gotax's own."""
    file = tmp_path / "recipes.toml"
    file.write_text(GOOD + GOOD.replace('"imaged"', '"nginx"'))
    names = [recipe.name for recipe in load_recipes(str(file))]
    assert names[:2] == ["imaged", "nginx"]
    assert len(names) == len(set(names)) == len(load_recipes()) + 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "r has no [[recipe]]"),
        ("x", "r is not TOML"),
        ("recipe = 1", "r has no [[recipe]]"),
        ("recipe = [1]", "r, recipe 1 is not a table"),
        (GOOD + "[other]\n", "r: there is no 'other'"),
        (GOOD + GOOD, "two recipes with the name 'imaged'"),
        (GOOD.replace("programs", "program"), "recipe 1 (imaged): there is no key 'program'"),
        (GOOD.replace('programs = ["imaged"]', ""), "needs one of programs, libraries"),
        (GOOD.replace("{n}", "1"), "advice needs {n}"),
        (GOOD.replace('name = "imaged"', ""), "recipe 1 needs name"),
        (GOOD.replace('["imaged"]', '"imaged"'), "programs is not a list"),
        (GOOD.replace('["imaged"]', '[""]'), "programs has an empty text"),
        (GOOD.replace("IMAGED_THREADS", "a b"), "'a b' is not the name of a variable"),
        (GOOD.replace("variable =", "var ="), "a knob has a variable, an option, or both"),
        (GOOD.replace("knobs", "unset"), "unset is not a text"),
        (GOOD + 'per = "node"', 'per is "process" or "container"'),
        (GOOD + "follows_limit = 1", "follows_limit is true or false"),
        (GOOD + 'patched = "A-B"', "'A-B' is not the name of a variable"),
        (GOOD.replace('"imaged"', '"a\\u001b"', 1), "name is not a text of one line"),
    ],
)
def test_a_mistake_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_recipes(text, "r")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    for path, data in ((tmp_path / "none", None), (tmp_path / "bad", b"\xff")):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(UserError, match=str(path)):
            load_recipes(str(path))


def test_gotaxs_own_recipes_say_what_to_do() -> None:
    """Each advice names one of the knobs, or the variable of the patch."""
    for recipe in load_recipes():
        names = [text for knob in recipe.knobs for text in (knob.variable, knob.option) if text]
        assert any(name.rstrip("=") in recipe.advice for name in names), recipe.name
        assert not recipe.patched or recipe.patched in recipe.advice, recipe.name
