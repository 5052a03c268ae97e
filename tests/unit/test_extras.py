"""Every --help works with what `make run` installs; other commands say how to install the rest."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from gotax import cli, extras
from gotax.errors import UserError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EVERYTHING = tuple(sorted(frozenset[str]().union(*extras.EXTRAS.values())))

# Each case is the missing modules, and the arguments of a command.
DRIVER = """
import contextlib, io, json, sys

blocked = set()


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
ended = []
for names, arguments in json.loads(sys.argv[1]):
    blocked = set(names)
    for name in list(sys.modules):
        if name.split(".")[0] in {"gotax", "gotax_collector", *blocked}:
            del sys.modules[name]
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            from gotax import cli
            code = cli.main(arguments)
        except SystemExit as end:
            code = end.code
    ended.append((code, output.getvalue(), errors.getvalue()))
print(json.dumps(ended))
"""
Case = tuple[tuple[str, ...], tuple[str, ...]]
Ended = tuple[int, str, str]


def run(*cases: Case) -> list[Ended]:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(cases)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Ended] = json.loads(done.stdout)
    assert len(found) == len(cases)
    return found


def test_the_table_of_extras_matches_the_project() -> None:
    """Each library of an extra is in the table with its module."""
    found = {
        module: {name.lower().replace("_", "-") for name in distributions}
        for module, distributions in packages_distributions().items()
    }
    for extra, modules in extras.EXTRAS.items():
        wanted = {line.split(">=")[0].lower() for line in PROJECT["optional-dependencies"][extra]}
        brought = set[str]().union(*(found.get(module, set()) for module in modules))
        if not brought:
            continue  # not installed here
        assert wanted <= brought, extra


def test_every_help_works_without_any_extra() -> None:
    """`gotax collector --help` failed after `make run`."""
    questions = ("top", "compare", "changes", "flamegraph", "functions", "diff", "remedies")
    names = [(), *((name,) for name in (*cli.COMMANDS, *cli.COLLECTOR_COMMANDS))]
    commands = [*names, *(("fleet", question) for question in questions)]
    found = run(*((EVERYTHING, (*command, "--help")) for command in commands))
    for command, (code, output, errors) in zip(commands, found, strict=True):
        assert (code, errors) == (0, ""), command
        assert output.startswith(" ".join(("usage: gotax", *command)))


NODE = ("--node", "x")
COLLECTOR = ("collector", "--plaintext", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
NEEDS: tuple[tuple[tuple[str, ...], tuple[str, ...], str, str], ...] = (
    *(
        (EVERYTHING, (*command, *NODE), "--node (pod names) needs", "kubernetes")
        for command in (("check",), ("top",), ("record", "-o", "-"), ("agent",), ("explain", "x"))
    ),
    (("lightkube",), ("check", *NODE), "needs lightkube,", "kubernetes"),
    (("httpx2",), ("check", *NODE), "needs httpx2,", "kubernetes"),
    (EVERYTHING, ("agent", "--otlp-endpoint", "http://o"), "--otlp-endpoint needs", "otlp"),
    (EVERYTHING, COLLECTOR, "`gotax collector` needs", "collector"),
    *(
        ((module,), (*COLLECTOR, "--store", "{folder}"), f"needs {module},", "collector")
        for module in sorted(extras.EXTRAS["collector"])
    ),
    (EVERYTHING, ("fleet", "top", "--store", "http://h"), "`gotax fleet` needs", "collector"),
)
BASE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("grpc", ("agent", "--parca-endpoint", "http://o")),
    ("grpc", ("agent", "--collector", "h:1", "--collector-plaintext")),
    ("google", ("record", "-o", "-")),
    ("numpy", ("check",)),  # last, because it cannot be loaded twice
)


def sentence(ended: Ended) -> str:
    """The only line of output, of a command that failed."""
    code, output, errors = ended
    assert (code, output) == (2, ""), ended
    (line,) = errors.splitlines()
    assert line.startswith("gotax: ")
    return line


def test_a_missing_library_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    """For each flag and command that needs an extra."""
    cases = []
    for blocked, arguments, _, _ in NEEDS:
        cases.append((blocked, tuple(text.format(folder=tmp_path) for text in arguments)))
    for (_, _, says, extra), ended in zip(NEEDS, run(*cases), strict=True):
        line = sentence(ended)
        assert says in line
        assert line.endswith(f"{sys.executable} -m pip install 'gotax[{extra}]'")


def test_a_missing_required_library_has_the_same_message() -> None:
    """One that `pip install gotax` installs, and that was removed."""
    found = run(*(((module,), arguments) for module, arguments in BASE))
    for (module, _), ended in zip(BASE, found, strict=True):
        line = sentence(ended)
        assert f" needs {module}, which is not installed" in line
        assert line.endswith(f"{sys.executable} -m pip install gotax")


def test_a_collector_can_be_queried_without_any_extra() -> None:
    """A query to a running collector is HTTP and JSON, which Python includes."""
    (ended,) = run((EVERYTHING, ("fleet", "top", "--collector", "http://127.0.0.1:9")))
    assert "no collector answers at http://127.0.0.1:9 " in sentence(ended)


def test_a_library_that_is_too_old_is_one_sentence() -> None:
    """It exists, and lacks something that gotax imports from it."""
    says = r"cannot use the installed json.* -U "
    with pytest.raises(UserError, match=says), extras.needed_by("this"):
        from json import no_such_name  # type: ignore[attr-defined]  # noqa: F401


def test_a_missing_module_of_gotax_is_a_traceback() -> None:
    """It is a bug of gotax: no installation helps."""
    with pytest.raises(ModuleNotFoundError), extras.needed_by("this"):
        import_module("gotax.no_such_module")
