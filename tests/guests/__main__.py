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

_ROOT = Path(__file__).parents[2]
_LOGS = _ROOT / "build/guests"
_EMULATORS = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.guests", description=__doc__)
    names = [guest.name for guest in table.GUESTS]
    parser.add_argument("name", nargs="*", help=f"all of: {', '.join(names)}")
    parser.add_argument("--smoke", action="store_true", help="only the newest kernel, few tests")
    parser.add_argument("--command", help="a command for the guests in place of their tests")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(names):
        parser.error(f"no such guests: {', '.join(sorted(unknown))}")
    chosen = [g for g in table.GUESTS if g.name in arguments.name or not arguments.name]
    if arguments.smoke:
        chosen = [table.SMOKE_GUEST]
    _LOGS.mkdir(parents=True, exist_ok=True)
    debian.folder().mkdir(parents=True, exist_ok=True)
    rows, good = [], True
    for guest in chosen:
        release, outcome = _run(guest, arguments.command)
        good = good and outcome.code == 0 and not outcome.failure
        rows.append(_row(guest, release, outcome, arguments.command))
        _write(rows, "smoke" if arguments.smoke else "all")
    print((_LOGS / "table.md").read_text(), end="")
    return 0 if good else 1


def _run(guest: Guest, command: str | None) -> tuple[str, Outcome]:
    """The kernel's release and what happened. What cannot be fetched is skipped with the reason."""
    emulator = _EMULATORS[guest.machine]
    if shutil.which(emulator) is None:
        return "", Outcome(failure=f"skipped: no {emulator} on this host")
    try:
        kernel = debian.fetch_kernel(guest.suite, guest.machine)
        for program in table.PROGRAMS:
            _build(guest, program)
        bytecode.compile_for(guest)
        _say(f"{guest.name}: Linux {kernel.release} with {guest.cpus} CPUs")
        log = _LOGS / f"{guest.name}.log"
        outcome = machine.run(guest, kernel, command or _pytest(guest), log)
    except (debian.MissingError, ToolchainError) as error:
        return "", Outcome(failure=f"skipped: {error}")
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


def _row(guest: Guest, release: str, outcome: Outcome, command: str | None) -> dict[str, object]:
    counted = Counter(result["outcome"] for result in outcome.results)
    ran = command or ", ".join(sorted({_subject(r["test"]) for r in outcome.results}))
    reasons = Counter(
        result["said"] for result in outcome.results if result["outcome"] == "skipped"
    )
    return {
        "kernel": release or guest.suite,
        "machine": guest.machine,
        "cpus": f"{guest.cpus} of {guest.possible}" if guest.possible else str(guest.cpus),
        "ran": ran,
        "passed": counted["passed"],
        "failed": [r["test"] for r in outcome.results if r["outcome"] == "failed"],
        "skipped": dict(reasons),
        "minutes": round(outcome.seconds / 60, 1),
        "failure": outcome.failure,
    }


def _subject(test: str) -> str:
    return test.partition("::")[0].rpartition("/")[2].removeprefix("test_").removesuffix(".py")


def _write(rows: list[dict[str, object]], which: str) -> None:
    (_LOGS / f"{which}.json").write_text(json.dumps(rows, indent=1) + "\n")
    lines = [
        "| kernel | machine | CPUs | what ran | passed | failed | skipped | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        failed, skipped = row["failed"], row["skipped"]
        assert isinstance(failed, list)
        assert isinstance(skipped, dict)
        troubles = [str(row["failure"])] if row["failure"] else []
        left = "; ".join(f"{count}: {reason}" for reason, count in skipped.items())
        cells = (
            *(row["kernel"], row["machine"], row["cpus"], row["ran"] or "nothing", row["passed"]),
            *(", ".join([*troubles, *failed]) or "-", left or "-", row["minutes"]),
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    (_LOGS / "table.md").write_text("\n".join(lines) + "\n")


def _say(text: str) -> None:
    print(f"guests: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
