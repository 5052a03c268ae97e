from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from gotax import cli
from gotax.cli import once
from gotax.cli.output import EXIT_FAILED, EXIT_FINDINGS, EXIT_FINE
from gotax.cli.stopping import StopSignal
from gotax.config import Suppression
from gotax.diagnosis.rules import CODES
from gotax.errors import GotaxError, UserError
from gotax.findings import Severity
from gotax.session import Plan
from gotax.window import Window
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import PATIENCE_S
from tests.unit.exporters.windows import story_window

ROOT = Path(__file__).parents[2]
COMMANDS = ("check", "top", "explain", "record", "agent")
GARBAGE = [
    ["frobnicate"],
    ["check", "--nonsense"],
    ["check", "-d"],
    ["check", "-d", "0"],
    ["check", "-d", "-5"],
    ["check", "-d", "nan"],
    ["check", "-d", "inf"],
    ["check", "-d", "1e9"],
    ["check", "-d", "soon"],
    ["check", "--hz", "0"],
    ["check", "--hz", "1000"],
    ["check", "--hz", "99.5"],
    ["check", "--pid", "0"],
    ["check", "--pid", "-1"],
    ["check", "--pid", "self"],
    ["check", "--pid", "99999999999999999999"],
    ["check", "--runtime-share", "20%"],
    ["check", "--runtime-share", "1.5"],
    ["check", "--mismatch-ratio", "0.5"],
    ["check", "--min-samples", "0"],
    ["top", "--sort", "size"],
    ["top", "-i", "0"],
    ["record"],
    ["record", "-o", "x", "-f", "png"],
    ["agent", "--listen", "9745:"],
    ["agent", "--listen", "localhost"],
    ["agent", "--listen", ":99999"],
    ["agent", "--node", "x", "--kubelet", "https://fd00::1:5"],
    ["agent", "--log-level", "shout"],
    ["explain", "a", "b"],
]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gotax", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
        **options,
    )


def exit_code(*arguments: str) -> int:
    """The exit code of the process."""
    try:
        return cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def sentence(text: str) -> str:
    """The error, which is one line, and for wrong usage a second one says where help is; fails on
    a traceback."""
    assert "Traceback" not in text
    line, *help_line = text.splitlines()
    assert re.match(r"gotax[a-z ]*: ", line)
    assert help_line in ([], [f"Try `{line.partition(':')[0]} --help`."])
    return line


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Every command gets the window of the production example; returns the plans of the
    commands."""
    plans: list[Plan] = []

    def sample(plan: Plan, seconds: float) -> Window:
        assert seconds > 0
        plans.append(plan)
        return story_window()

    monkeypatch.setattr(once, "sample_once", sample)
    return plans


@pytest.mark.parametrize("arguments", GARBAGE, ids=" ".join)
def test_invalid_values_are_refused_in_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """Exit code 2, a sentence on standard error, nothing on standard output, no sampling."""
    assert exit_code(*arguments) == EXIT_FAILED
    output = capsys.readouterr()
    assert sentence(output.err)
    assert output.out == ""
    assert measured == []


@given(
    st.sampled_from(
        [
            *(("check", flag) for flag in ("-d", "--hz", "-p", "--runtime-share", "--min-samples")),
            *(("top", flag) for flag in ("-i", "-s", "--mismatch-ratio")),
            *(("agent", flag) for flag in ("--listen", "-i", "--log-level")),
        ]
    ),
    st.text(st.characters(exclude_characters="\0"), max_size=12),
)
def test_no_value_of_a_flag_gives_a_traceback(where: tuple[str, str], value: str) -> None:
    """Parsing gives options or exit code 2, for any text."""
    command, flag = where
    code = 0
    try:
        cli.build_parser().parse_args(
            [command, f"{flag}={value}" if flag[1] == "-" else flag + value]
        )
    except SystemExit as end:
        code = int(end.code or 0)
    assert code in (0, EXIT_FAILED)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help prints the usage and ends with 0; no line is too wide for a terminal."""
    assert exit_code(*filter(None, [command]), "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: gotax {command}".rstrip())
    for name in COMMANDS if not command else ():
        assert name in text


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sampled."""
    assert exit_code() == EXIT_FAILED
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["0", "4194305", "9999999", "²", "٣"])
def test_a_target_that_is_no_pid_is_one_sentence(
    target: str, capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """Digits that cannot be a PID are a name or the beginning of a container id."""
    code = exit_code("explain", target)
    assert measured[0].scope.is_host
    if target != "0":  # the ids of the example's containers begin with it
        assert code == EXIT_FAILED
        assert "no Go process matches" in sentence(capsys.readouterr().err)


def test_explain_needs_a_target(capsys: pytest.CaptureFixture[str], measured: list[Plan]) -> None:
    """Without a target, --pid or --cgroup the message lists them."""
    assert exit_code("explain") == EXIT_FAILED
    assert "name what to explain" in sentence(capsys.readouterr().err)
    assert measured == []


def test_explain_without_a_match_points_to_check(
    capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """The message says how to list the containers."""
    assert exit_code("explain", "no-such-service") == EXIT_FAILED
    assert measured
    assert "`gotax check` lists" in sentence(capsys.readouterr().err)


@pytest.mark.parametrize("output", ["/nonexistent/cpu.pb.gz", "/", "/dev/full"])
def test_unwritable_output_is_one_sentence(
    output: str, capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """A missing folder or a full device; the first two are found before sampling."""
    assert exit_code("record", "-o", output) == EXIT_FAILED
    assert "cannot write" in sentence(capsys.readouterr().err)
    assert bool(measured) == (output == "/dev/full")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        *(("a.pb.gz", b"\x1f\x8b"), ("a.pprof", b"\x1f\x8b"), ("a.PROF", b"\x1f\x8b")),
        *(
            ("a.folded", b"containerd.service;"),
            ("a.b.txt", b"containerd.service;"),
            ("a.JSON", b'{"schema"'),
            ("a.speedscope.json", b'{"$schema"'),
            ("a.svg", b"<svg "),
            ("a.html", b"<!doctype html>"),
            ("a.HTM", b"<!doctype html>"),
        ),
        *(("a", b"\x1f\x8b"), (".hidden", b"\x1f\x8b")),
    ],
)
def test_format_follows_the_name(
    tmp_path: Path, name: str, start: bytes, measured: list[Plan]
) -> None:
    """By its ending; pprof otherwise. A profile has all frames."""
    assert exit_code("record", "-o", str(tmp_path / name)) == EXIT_FINE
    assert (tmp_path / name).read_bytes().startswith(start)
    assert measured[0].detail.native_frames
    assert measured[0].detail.kernel_frames


@pytest.mark.parametrize(
    "name",
    ["x.htmlx", "x.png", "x.gz", "x.pb", "x.json.gz", "x.folded.gz", "cpu.2026-11-28", "x.j"],
)
def test_an_unknown_ending_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """`record -o x.png` wrote pprof without a message. With --format any ending is allowed."""
    output = str(tmp_path / name)
    assert exit_code("record", "-o", output) == EXIT_FAILED
    said = sentence(capsys.readouterr().err)
    assert "pprof for .pb.gz or .pprof or .prof; folded for .folded or .txt; " in said
    assert "html for .html" in said
    assert "--format" in said
    assert measured == []
    assert exit_code("record", "-o", output, "-f", "json") == EXIT_FINE
    assert (tmp_path / name).read_bytes().startswith(b"{")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("chekc", "gotax: unknown command 'chekc'; did you mean check?"),
        ("zzzz", "gotax: unknown command 'zzzz': choose from check, top, explain"),
        (
            "check --durration 3",
            "gotax check: unknown option --durration; did you mean --duration?",
        ),
        (
            "check --durration=3",
            "gotax check: unknown option --durration; did you mean --duration?",
        ),
        ("agent --wat", "gotax agent: unknown option --wat"),
        ("check --ignore GT0009", "'GT0009' is not the code of a finding; did you mean GT009?"),
        ("check --select GT001,", "'' is not the code of a finding"),
        ("top --sort cpux", "'cpux' is not known; did you mean cpu?"),
        ("explain a b", "gotax explain: unexpected argument 'b'"),
        ("fleet tpo", "gotax fleet: unknown command 'tpo'; did you mean top?"),
        ("fleet top --limt 3", "gotax fleet top: unknown option --limt; did you mean --limit?"),
        ("collector --retain 3", "gotax collector: unknown option --retain"),
    ],
)
def test_a_typing_error_gets_the_nearest_right_word(
    command: str, says: str, capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """In two lines, the second of which says where help is; hidden old names are not offered."""
    assert exit_code(*command.split(" ")) == EXIT_FAILED
    error = capsys.readouterr().err
    assert says in sentence(error)
    assert len(error.splitlines()) == 2
    assert "--min-hits" not in error
    assert measured == []


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ("--select GT001", {"GT001"}),
        ("--select gt001,GT01", {code for code in CODES if code.startswith(("GT001", "GT01"))}),
        ("--ignore GT001", set(CODES) - {"GT001"}),
        ("--select GT001,GT002 --ignore GT002", {"GT001"}),
        ("--ignore GT001 --ignore GT002", set(CODES) - {"GT001", "GT002"}),
        ("", set(CODES)),
    ],
)
def test_findings_are_selected_and_ignored_by_code(
    flags: str, kept: set[str], measured: list[Plan]
) -> None:
    exit_code("check", *flags.split())
    (plan,) = measured
    assert {code for code in CODES if Suppression(code) not in plan.thresholds.suppressions} == kept


@pytest.mark.usefixtures("measured")
def test_check_of_named_containers(capsys: pytest.CaptureFixture[str]) -> None:
    """By the names that explain takes and with wildcards; the exit code is of these alone."""
    reports = story_window().reports
    names = [report.container.name for report in reports]
    assert len(set(names)) == len(names) > 1
    for report in reports:
        has_warning = any(f.severity is Severity.WARNING for f in report.findings)
        code = exit_code("check", "--json", report.container.name)
        assert code == (EXIT_FINDINGS if has_warning else EXIT_FINE)
        shown = json.loads(capsys.readouterr().out)["containers"]
        assert [each["name"] for each in shown] == [report.container.name]
    exit_code("check", "--json", names[0][:3] + "*", names[-1])
    shown = {each["name"] for each in json.loads(capsys.readouterr().out)["containers"]}
    assert shown == {n for n in names if n.startswith(names[0][:3])} | {names[-1]}
    assert exit_code("check", names[0], names[-1] + "x") == EXIT_FAILED
    said = sentence(capsys.readouterr().err)
    assert said == f"gotax: no Go container matches {names[-1] + 'x'!r}; did you mean {names[-1]}?"


def test_check_writes_an_html_file_beside_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """With the frames that a flame graph needs. What cannot be written is refused at once."""
    file = tmp_path / "report.html"
    assert exit_code("check", "--html", str(file)) == EXIT_FINDINGS
    assert "payments-api" in capsys.readouterr().out
    assert "payments-api" in file.read_text()
    assert measured[0].detail.native_frames
    assert exit_code("check", "--html", str(tmp_path / "no" / "such.html")) == EXIT_FAILED
    assert sentence(capsys.readouterr().err).endswith("its folder has to exist and be writable")
    assert len(measured) == 1


def test_findings_are_exit_code_one(
    capsys: pytest.CaptureFixture[str], measured: list[Plan]
) -> None:
    """The example's window has an oversized container, so the exit code of check is 1."""
    assert exit_code("check") == EXIT_FINDINGS
    assert exit_code("check", "--json") == EXIT_FINDINGS
    assert len(measured) == 2
    assert capsys.readouterr().out


def test_settings_reach_the_plan(measured: list[Plan]) -> None:
    """Each flag sets its setting."""
    exit_code(
        *("check", "--hz", "7", "-p", "1", "-p", "2", "-g", "/a", "--proc", "/p", "--sys", "/s"),
        *("--runtime-share", "0.5", "--mismatch-ratio", "3", "--min-samples", "9"),
        *("--saving-cores", "0.25", "--suppress", "GT002", "--suppress", "GT001/call@shop/*"),
    )
    (plan,) = measured
    assert (plan.hz, plan.scope.pids, plan.scope.cgroups) == (7, frozenset({1, 2}), ("/a",))
    assert (plan.roots.proc, plan.roots.sys) == ("/p", "/s")
    assert (plan.thresholds.runtime_share, plan.thresholds.mismatch_ratio) == (0.5, 3.0)
    assert (plan.thresholds.min_samples, plan.thresholds.saving_cores) == (9, 0.25)
    assert plan.thresholds.suppressions == (
        Suppression("GT002"),
        Suppression("GT001", "call", "shop/*"),
    )


def test_old_names_of_flags_work_and_warn(
    measured: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    """For one release: beside the new name, in any form, and hidden from --help."""
    exit_code("check", "--min-hits=9", "--silence", "GT002", "--suppress", "GT003")
    (plan,) = measured
    assert plan.thresholds.min_samples == 9
    assert plan.thresholds.suppressions == (Suppression("GT002"), Suppression("GT003"))
    error = capsys.readouterr().err
    assert "warning: --min-hits is now called --min-samples" in error
    assert "warning: --silence is now called --suppress" in error
    exit_code("check", "--help")
    shown = capsys.readouterr().out
    assert "--min-samples" in shown
    assert "--min-hits" not in shown
    assert "--silence" not in shown


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("GT999", "'GT999' is not the code of a finding"),
        ("GT001/weather", "'weather' is not a cause"),
        ("GT001@", "has no name after the @"),
    ],
)
def test_an_invalid_suppression_is_refused(
    flag: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, with the error: a typing error must not silently suppress nothing."""
    assert exit_code("check", "--suppress", flag) == EXIT_FAILED
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("error", [UserError("no."), GotaxError("no.")])
def test_expected_errors_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: GotaxError
) -> None:
    """Errors that gotax raises on purpose are printed, and the exit code is 2."""

    def refuse(*_: object) -> Window:
        raise error

    monkeypatch.setattr(once, "sample_once", refuse)
    assert exit_code("check") == EXIT_FAILED
    assert capsys.readouterr().err == "gotax: no.\n"


def test_a_missing_pid_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """A PID without a process, before anything is loaded."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert exit_code("check", "--pid", str(child.pid)) == EXIT_FAILED
    assert f"no process has PID {child.pid}" in sentence(capsys.readouterr().err)


@pytest.mark.parametrize("path", ["/gotax-no-such-cgroup", "/../../etc", "relative/x", "\n", "/\0"])
def test_a_missing_cgroup_is_one_sentence(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A path without a cgroup, or one outside the tree."""
    assert exit_code("check", "-d", "0.1", "--cgroup", path) == EXIT_FAILED
    assert "no cgroup has the path" in sentence(
        capsys.readouterr().err.replace("\n (", " (").replace("path \n", "path ")
    )


@pytest.mark.parametrize("flag", ["--proc", "--sys"])
def test_missing_roots_are_one_sentence(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder for /proc or /sys is an error."""
    assert exit_code("check", "-d", "0.1", flag, str(tmp_path)) == EXIT_FAILED
    assert sentence(capsys.readouterr().err)


def test_without_root_the_message_has_the_remedy(tmp_path: Path) -> None:
    """As uid nobody: exit code 2 and one sentence, for each command that samples."""
    prefix = []
    if os.geteuid() == 0:
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        seen = subprocess.run([*prefix, sys.executable, "-c", "import gotax"], check=False)
        if seen.returncode:
            pytest.skip("nobody cannot read this checkout")
    tmp_path.chmod(0o755)
    for command in (["check"], ["top", "--once"], ["explain", "1"], ["agent", "--listen", ":0"]):
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "gotax", *command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == EXIT_FAILED, done
        assert "run it with sudo" in sentence(done.stderr)
        assert done.stdout == ""


# The real process, with a window that needs no kernel.
DRIVER = """
import sys
from gotax import cli
from gotax.cli import once
from gotax.config import Suppression
from tests.unit.exporters.windows import build_window, hostile_load, oversized_load
once.sample_once = lambda *_: build_window(oversized_load(), hostile_load())
sys.exit(cli.main(sys.argv[1:]))
"""
PRINTING = (
    ["check"],
    ["check", "--json"],
    ["explain", "/evil"],
    ["explain", "/evil", "--json"],
    *(["record", "-o", "-", "-f", form] for form in ("pprof", "folded", "json")),
    ["--help"],
)
printing = pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)


def drive(arguments: list[str], stdout: int, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in os.environ.keys() - {"PYTHONUNBUFFERED"}}
    return subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
        env={**environment, **variables},
    )


@printing
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_chosen_by_workloads_can_be_printed(arguments: list[str], encoding: str) -> None:
    """Escapes, invalid bytes, and letters that the terminal lacks: no traceback, no escape
    sequence."""
    done = drive(arguments, subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert done.stderr == ""
    assert done.returncode in (EXIT_FINE, EXIT_FINDINGS)
    if "pprof" not in arguments:
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout


@printing
def test_a_closed_pipe_is_a_failure(arguments: list[str]) -> None:
    """`gotax check | true`: nothing on standard error, and neither exit code 0 nor 1."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = drive(arguments, write)
    finally:
        os.close(write)
    assert done.stderr == ""
    assert done.returncode == EXIT_FAILED


@pytest.mark.parametrize(
    "arguments",
    [
        *PRINTING,
        ["--version"],
        ["top", "--once"],
        ["addr2line", sys.executable],
        ["selftest"],
        ["compare", "a.json", "b.json"],
        ["fleet", "--help"],
    ],
    ids=" ".join,
)
def test_a_closed_output_is_a_failure(arguments: list[str]) -> None:
    """`gotax check >&-`: one sentence about the first error, and exit code 2."""
    command = [sys.executable, "-c", DRIVER, *arguments]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        input="0\n",
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    assert sentence(done.stderr)
    assert done.returncode == EXIT_FAILED


def test_a_closed_error_output_is_not_written_to_the_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gotax", "compare", "a", "b"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (EXIT_FAILED, b"")


# Ctrl-C at the moment that a module is looked for.
INTERRUPTED = """
import signal, sys
wanted = sys.argv.pop(1)
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from gotax.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "module", ["gotax.cli", "argparse", "gotax.errors", "gotax.cli.check", "numpy"]
)
def test_ctrl_c_during_imports_is_no_traceback(module: str) -> None:
    """At any import: exit code 130 and no output."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module, "check", "-d", "0.1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_entry_point_handles_ctrl_c() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["gotax"] == "gotax.__main__:main"


@printing
def test_a_full_disk_is_one_sentence(arguments: list[str]) -> None:
    """`gotax check > /dev/full`: exit code 2 and the reason."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = drive(arguments, full)
    finally:
        os.close(full)
    assert done.returncode == EXIT_FAILED
    assert os.strerror(errno.ENOSPC) in sentence(done.stderr)


class Stopped:
    """A session that is stopped before its first window."""

    def __init__(self, plan: Plan, watch: Callable[[float], None]) -> None:
        del plan, watch

    def __enter__(self) -> Self:
        signal.raise_signal(signal.SIGINT)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def windows(self, window_s: float, stop: threading.Event) -> Iterator[Window]:
        del window_s
        while not stop.is_set():
            yield story_window()


@pytest.mark.parametrize("arguments", [["check"], ["explain", "api"], ["record", "-o", "-"]])
def test_ctrl_c_during_loading_is_one_sentence(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped before the first sample: no traceback, and not the exit code of a measurement."""
    monkeypatch.setattr("gotax.session.Session", Stopped)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert exit_code(*arguments) == EXIT_FAILED
    finally:
        for number, action in before.items():
            signal.signal(number, action)
    assert "stopped" in sentence(capsys.readouterr().err)


def test_a_signal_handler_does_not_deadlock() -> None:
    """Many signals arrive while the main thread waits: it ends each time."""
    done = subprocess.run(
        [sys.executable, "-c", STORM, str(0.9 * PATIENCE_S)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


STORM = """
import faulthandler, signal, sys
from gotax.cli import stopping
from gotax.config import Suppression
faulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)
stop = stopping.stop_on_signals()
signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
for _ in range(20):
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    for _ in range(2000):
        stop.wait(0.00005)
        stop.is_set()
    signal.setitimer(signal.ITIMER_REAL, 0)
print("ended")
"""


def test_waiting_ends_when_a_descriptor_is_readable() -> None:
    """``also`` ends the wait, and so does a stop."""
    stop, long_s = StopSignal(), PATIENCE_S
    started = time.monotonic()
    read, write = os.pipe()
    try:
        stop.wait(0.01, read)  # nothing to read: returns after the timeout
        os.write(write, b"x")
        stop.wait(long_s, read)
        os.read(read, 1)
        stop.set()
        stop.wait(long_s, read)
        stop.wait(long_s)
    finally:
        os.close(read)
        os.close(write)
    assert 0.01 <= time.monotonic() - started < long_s


@pytest.mark.parametrize("command", ["check", "top", "explain", "record", "agent", "addr2line"])
def test_what_samples_is_not_loaded_for_help(command: str) -> None:
    """And the agent forks the server of its readers before that."""
    code = (
        "import sys; from gotax import cli;"
        f" cli.build_parser({command!r}); import gotax.reader.server;"
        " sys.exit(sum(name in sys.modules for name in ('numpy', 'gotax.session', 'asyncio')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
