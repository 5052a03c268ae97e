"""`python -m tests.guests [NAME...]`: boots the guests of table.py one after the other.

At the end a table says what ran in each. `--smoke` boots only the newest kernel, for few tests.
`--command 'gotax selftest'` runs this in the chosen guests in place of their tests.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path

from tests.guests import bytecode, debian, machine, table
from tests.guests.machine import Outcome
from tests.guests.table import Guest
from tests.toolchains import ToolchainError, go_binary

Row = dict[str, str | int | float]

_ROOT = Path(__file__).parents[2]
_LOGS = _ROOT / "build/guests"
_EMULATORS = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.guests", description=__doc__)
    names = [guest.name for guest in table.GUESTS]
    parser.add_argument("name", nargs="*", help=f"all of: {', '.join(names)}")
    parser.add_argument("--smoke", action="store_true", help="only the newest kernel, few tests")
    parser.add_argument("--command", help="a command for the guests in place of their tests")
    parser.add_argument("--pytest", default="", help="more options of pytest: '-k verdicts'")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(names):
        parser.error(f"no such guests: {', '.join(sorted(unknown))}")
    chosen = [g for g in table.GUESTS if g.name in arguments.name or not arguments.name]
    if arguments.smoke:
        chosen = [table.SMOKE_GUEST]
    _LOGS.mkdir(parents=True, exist_ok=True)
    debian.folder().mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    outcomes: list[Outcome] = []
    for guest in chosen:
        command = arguments.command or f"{_pytest(guest)} {arguments.pytest}"
        release, outcome = _run(guest, command)
        outcomes.append(outcome)
        rows.append(row_of(guest, release, outcome, arguments.command or ""))
        _write(rows, "smoke" if arguments.smoke else "all")
    print(table_of(rows), end="")
    ran = [outcome for outcome in outcomes if not outcome.skipped]
    return 0 if ran and all(outcome.code == 0 for outcome in ran) else 1


def _run(guest: Guest, command: str) -> tuple[str, Outcome]:
    """The kernel's release and what happened. What cannot be fetched is skipped with the reason."""
    emulator = _EMULATORS[guest.machine]
    if shutil.which(emulator) is None:
        return "", Outcome(skipped=f"no {emulator} on this host")
    try:
        kernel = debian.fetch_kernel(guest.suite, guest.machine)
        for program in table.PROGRAMS:
            _build(guest, program)
        bytecode.compile_for(guest)
        _say(f"{guest.name}: Linux {kernel.release} with {guest.cpus} CPUs")
        log = _LOGS / f"{guest.name}.log"
        outcome = machine.run(guest, kernel, command, log)
    except (debian.MissingError, ToolchainError) as error:
        return "", Outcome(skipped=str(error))
    for result in outcome.results:
        if result["outcome"] == "failed":
            _say(f"{guest.name}: {result['test']}: {result['said']}")
    return kernel.release, outcome


def _build(guest: Guest, program: tuple[str, ...]) -> None:
    """Here, because a compiler takes long in a guest."""
    go_binary(*program, *(("arm64",) if guest.machine == "arm64" else ()))


def _pytest(guest: Guest) -> str:
    python = ".venv/bin/python" if guest.machine == "amd64" else "/usr/bin/python3"
    return shlex.join((python, *table.PYTEST, *guest.tests))


def row_of(guest: Guest, release: str, outcome: Outcome, command: str) -> Row:
    """What ran, from the lines of the guest's console."""
    files = dict.fromkeys(_file(result["test"]) for result in outcome.results)
    failed = [r["test"] for r in outcome.results if r["outcome"] == "failed"]
    reasons = Counter(r["said"] for r in outcome.results if r["outcome"] == "skipped")
    if outcome.failure:
        failed.insert(0, outcome.failure)
    elif outcome.code and not failed:
        failed.append(f"exit code {outcome.code}")
    return {
        "kernel": release or guest.suite,
        "machine": guest.machine,
        "CPUs": f"{guest.cpus} of {guest.possible}" if guest.possible else guest.cpus,
        "what ran": command or ", ".join(files) or "nothing",
        "passed": sum(r["outcome"] == "passed" for r in outcome.results),
        "failed": "; ".join(failed) or "-",
        "skipped": "; ".join(
            filter(None, (outcome.skipped, *(f"{n}: {why}" for why, n in reasons.items())))
        )
        or "-",
        "minutes": round(outcome.seconds / 60, 1),
    }


def _file(test: str) -> str:
    return test.partition("::")[0].rpartition("/")[2].removeprefix("test_").removesuffix(".py")


def table_of(rows: list[Row]) -> str:
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(str(cell) for cell in row.values()) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _write(rows: list[Row], which: str) -> None:
    (_LOGS / f"{which}.json").write_text(json.dumps(rows, indent=1) + "\n")
    (_LOGS / f"{which}.md").write_text(table_of(rows))


def _say(text: str) -> None:
    print(f"guests: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
