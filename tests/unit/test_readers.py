"""Readers: real processes that answer, do not answer, take too much or end.

What a reader does is written here before the server is forked, so that it does just that.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gotax.errors import AccessError, ParseError, ProcessGoneError, TransientError
from gotax.reader import pool as pool_module
from gotax.reader import server as server_module
from gotax.reader import worker
from gotax.reader.asking import HOSTILE, PENDING, STUCK, InProcess, Subject
from gotax.reader.connection import Connection
from gotax.reader.pool import Pool
from gotax.reader.server import ForkServer
from gotax.reader.work import Work

from tests.patience import PATIENCE_S, is_readable

Open = Callable[[], Pool]
_DEFAULT = "/proc/self/comm"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a pool whose readers do with ``head`` what the path says, and which waits for them
    as long as a busy host needs."""
    stack = contextlib.ExitStack()
    monkeypatch.setattr(pool_module, "WAIT_S", PATIENCE_S)
    monkeypatch.setattr(pool_module, "DISPLACED_S", PATIENCE_S)
    monkeypatch.setattr(server_module, "_ANSWER_S", PATIENCE_S)

    def open_pool() -> Pool:
        monkeypatch.setattr(Work, "head", _head)
        server = stack.enter_context(ForkServer())
        gc.unfreeze()
        pool = Pool(server, PATIENCE_S)
        stack.callback(pool.close)
        return pool

    with stack:
        yield open_pool


def _head(_self, path: str, length: int) -> bytes:  # type: ignore[no-untyped-def]
    match path.partition(":"):
        case ("wait", _, fifo):
            with open(fifo, "rb") as file:
                return file.read(length)
        case ("spin", _, _):
            while True:
                pass
        case ("fill", _, _):
            return bytes(1 << 30)
        case ("hoard", _, megabytes):
            vars(_self).setdefault("hoard", []).append(b"x" * (int(megabytes) << 20))
        case ("hoarded", _, _):
            return str(len(vars(_self).get("hoard", []))).encode()
        case ("collector", _, _):
            return str(gc.isenabled()).encode()
        case ("exit", _, _):
            os._exit(3)
        case ("lie", _, _):
            os.write(_connection(), worker.SIZE.pack(5) + b"agone")
            signal.pause()
    return path[:length].encode()


def _connection() -> int:
    (fd,) = [int(n) for n in os.listdir("/proc/self/fd") if _is_socket(n)]
    return fd


def _is_socket(name: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return False


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is not answered costs a test little."""
    monkeypatch.setattr(pool_module, "WAIT_S", 0.1)


def patient(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WAIT_S", PATIENCE_S)
    pool.round_wait_s = 1000 * PATIENCE_S
    pool.begin_round()


def refused(pool: Pool, subject: str, path: str = "x") -> str:
    pool.begin_round()
    with pytest.raises(AccessError) as error:
        pool.ask(Subject(subject, subject), "head", path, 8)
    return error.value.reason


def answered(pool: Pool, subject: str) -> bytes:
    """Once the machine has the time."""
    while True:
        pool.begin_round()
        with contextlib.suppress(AccessError):
            found: bytes = pool.ask(Subject(subject, subject), "head", subject, 8)
            return found
        assert not pool._hostile.get(subject)


def test_a_reader_sees_what_the_agent_would_see(opened: Open) -> None:
    pool, here = opened(), InProcess()
    for question, arguments in (
        ("exe_id", ()),
        ("auxiliary", ()),
        ("first_addresses", ()),
        ("environment", (frozenset({"PATH", "none"}),)),
        ("cgroup_view", ()),
    ):
        place = ("/proc", str(os.getpid()), *arguments)
        assert pool.ask(Subject("me", "me"), question, *place) == here.ask(
            Subject("me", "me"), question, *place
        )
    maps = pool.ask(Subject("me", "me"), "maps", "/proc", str(os.getpid())).parse()
    at = next(m for m in maps.mappings if m.inode)
    assert pool.ask(
        Subject("me", "me"), "memory", "/proc", str(os.getpid()), at.start, 64
    ) == here.ask(Subject("me", "me"), "memory", "/proc", str(os.getpid()), at.start, 64)
    assert len(pool.pids()) == 2
    assert pool.cpu_s() > 0
    assert not pool.restarts


def test_a_reader_collects_its_garbage(opened: Open) -> None:
    """It lives as long as the agent. The server, which has nothing to collect, does not."""
    assert opened().ask(Subject("x", "x"), "head", "collector:", 1) == b"True"


def test_errors_arrive_as_what_they_are(opened: Open) -> None:
    pool = opened()
    with pytest.raises(ProcessGoneError):
        pool.ask(Subject("gone", "gone"), "exe_id", "/proc", "4194305")
    with pytest.raises(AccessError, match="memory-unmapped"):
        pool.ask(Subject("me", "me"), "memory", "/proc", str(os.getpid()), 4096, 8)
    with pytest.raises(ParseError, match="memory-range"):
        pool.ask(Subject("me", "me"), "memory", "/proc", str(os.getpid()), 4096, 1 << 30)
    assert not pool.restarts


def test_a_slow_question_delays_nothing_else(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is pending, goes on beside the others, and is answered in the end."""
    pool = opened()
    answered(pool, "warm")
    impatient(monkeypatch)
    assert refused(pool, "slow", f"wait:{fifo}") == PENDING
    assert answered(pool, "quick") == b"quick"
    assert len(pool.pids()) == 3
    assert refused(pool, "slow", f"wait:{fifo}") == PENDING  # not asked twice
    with fifo.open("wb") as file:
        file.write(b"late")
    assert answered(pool, "slow") == b"slow"
    assert len(pool.pids()) == 3
    for _ in range(6):
        pool.begin_round()
    assert len(pool.pids()) == 2  # the second one has nothing to do
    assert not pool.restarts
    assert answered(pool, "quick") == b"quick"


def test_a_late_answer_is_kept_for_the_next_question(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About binaries: what takes long on a busy host would never be done."""
    monkeypatch.setattr(pool_module, "OF_BINARIES", frozenset({"head"}))
    pool = opened()
    answered(pool, "warm")
    impatient(monkeypatch)
    assert refused(pool, "slow", f"wait:{fifo}") == PENDING
    with fifo.open("wb") as file:
        file.write(b"late")
    assert answered(pool, "slow") == b"late"
    assert answered(pool, "slow") == b"slow"  # once


def test_a_reader_loads_what_a_question_takes() -> None:
    """The daemon's server is forked before numpy is loaded. A reader of processes does without,
    and one of binaries ends when it is not asked about them any more."""
    done = subprocess.run(
        [sys.executable, "-c", _LEAN, sys.executable], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False", "True", "False"], done.stderr


_LEAN = """
import sys
from pathlib import Path
from gotax.linux.mappings import read_exe_id
from gotax.reader.asking import Subject
from gotax.reader.server import ForkServer
assert "numpy" not in sys.modules
with ForkServer() as server:
    from gotax.reader import pool as pool_module
    from gotax.reader.facts import BinaryPlace
    from gotax.reader.pool import Pool
    pool_module.WAIT_S = pool_module.ROUND_WAIT_S = 60.0
    pool = Pool(server, 120.0)
    where = BinaryPlace(read_exe_id("/proc", "self"), sys.argv[1], "python")

    def has_numpy():
        pool.begin_round()
        pool.ask(Subject("process", ""), "maps", "/proc", "self")
        return any("numpy" in Path(f"/proc/{pid}/maps").read_text() for pid in pool.pids())

    print(has_numpy())
    assert pool.ask(Subject("binary", ""), "describe", where).build is None
    print(has_numpy())
    pool_module._IDLE_S = 0.0
    print(has_numpy())
    assert not pool.restarts
    pool.close()
"""


def test_a_second_slow_question_waits_for_the_first(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped when it has had its time and there is something else to read."""
    pool = opened()
    answered(pool, "warm")
    impatient(monkeypatch)
    monkeypatch.setattr(pool_module, "DISPLACED_S", 1e6)
    assert refused(pool, "slow", f"wait:{fifo}") == PENDING
    assert refused(pool, "second", f"wait:{fifo}") == PENDING
    assert refused(pool, "quick") == PENDING
    assert not pool.restarts  # both go on
    monkeypatch.setattr(pool_module, "DISPLACED_S", 0.0)
    assert refused(pool, "second", f"wait:{fifo}") == PENDING
    monkeypatch.setattr(pool_module, "DISPLACED_S", 1e6)
    assert pool.restarts == {"displaced": 1}
    assert answered(pool, "quick") == b"quick"
    for _ in range(3):
        assert refused(pool, "second", f"wait:{fifo}") == PENDING
    assert pool.restarts == {"displaced": 1}
    with fifo.open("wb"):
        pass
    assert answered(pool, "second") == b"second"


def test_too_much_time_is_hostile(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = opened()
    impatient(monkeypatch)
    assert refused(pool, "stuck", f"wait:{fifo}") == PENDING
    monkeypatch.setattr(pool_module, "WALL_S", 0.0)
    assert refused(pool, "stuck") == HOSTILE
    assert pool.restarts == {"time": 1}
    monkeypatch.undo()
    assert refused(pool, "stuck") == HOSTILE  # and is not asked again
    assert answered(pool, "quick") == b"quick"
    assert pool.restarts == {"time": 1}
    assert pool.hostile == 1


def test_too_much_cpu_time_is_hostile(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is quick goes on."""
    pool = opened()
    impatient(monkeypatch)
    monkeypatch.setattr(pool_module, "CPU_S", 0.05)
    assert refused(pool, "bomb", "spin:") == PENDING
    while not pool.hostile:
        pool.tend()
    assert refused(pool, "bomb") == HOSTILE
    assert pool.restarts == {"cpu": 1}
    assert pool.cpu_s() > 0.05
    assert answered(pool, "quick") == b"quick"


def test_slow_questions_rest_after_a_hostile_one(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many bombs a container has, they get a tenth of a CPU. The others do not rest."""
    pool = opened()
    impatient(monkeypatch)
    monkeypatch.setattr(pool_module, "CPU_S", 0.05)
    monkeypatch.setattr(pool_module, "_REST", 1_000_000)
    pool._slow.put("slow", True)  # as it has turned out before
    assert refused(pool, "bomb", "spin:") == PENDING
    while not pool.hostile:
        pool.tend()
    second = Subject("second", "bomb")
    with pytest.raises(AccessError, match=PENDING):
        pool.ask(second, "head", "second", 8)
    assert answered(pool, "quick") == b"quick"
    assert answered(pool, "slow") == b"slow"
    pool._rested_s = 0.0
    pool.begin_round()
    assert pool.ask(second, "head", "second", 8) == b"second"


def test_a_container_cannot_hold_the_second_reader_with_more_and_more_files(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was new, and so the reader for what is quick was busy all the time."""
    pool = opened()
    answered(pool, "warm")
    impatient(monkeypatch)
    assert refused(pool, "first", f"wait:{fifo}") == PENDING
    asked = []
    for number in range(6):
        subject = Subject(number, "attacker")
        pool.begin_round()
        with monkeypatch.context() as patched:
            patched.setattr(pool_module, "DISPLACED_S", 0.0)
            with pytest.raises(AccessError, match=PENDING):
                pool.ask(subject, "head", f"wait:{fifo}", 8)
        asked.append(any(r.job and r.job.subject == subject for r in pool._readers))
    assert asked == [True, True, False, False, False, False]  # two were stopped for the next
    assert pool.restarts == {"displaced": 2}
    assert answered(pool, "quick") == b"quick"


def test_a_slow_question_of_a_suspect_is_stopped_for_another(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It held the names of its neighbours up for 20 seconds each time."""
    pool = opened()
    answered(pool, "warm")
    impatient(monkeypatch)
    pool._groups.blame("suspect", 2)
    pool._slow.put("large", True)
    assert refused(pool, "suspect", f"wait:{fifo}") == PENDING
    assert refused(pool, "large") == PENDING
    assert not pool.restarts  # not within two seconds
    monkeypatch.setattr(pool_module, "DISPLACED_S", 0.0)
    assert refused(pool, "large") == PENDING
    assert pool.restarts == {"displaced": 1}
    assert answered(pool, "large") == b"large"


def test_slow_questions_of_suspects_let_the_others_go_first(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = opened()
    answered(pool, "warm")
    impatient(monkeypatch)
    pool._groups.blame("suspect", 2)
    pool._slow.put("large", True)
    assert refused(pool, "first", f"wait:{fifo}") == PENDING
    assert refused(pool, "suspect") == PENDING
    assert refused(pool, "large") == PENDING
    with fifo.open("wb"):
        pass
    while any(reader.job for reader in pool._readers):
        pool.tend()
    assert refused(pool, "suspect") == PENDING
    pool.begin_round()
    assert pool.ask(Subject("large", "large"), "head", "large", 8) == b"large"
    assert answered(pool, "suspect") == b"suspect"


def test_the_kernel_ends_a_reader_that_nothing_watches(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CPU_S", 0)
    pool = opened()
    impatient(monkeypatch)
    assert refused(pool, "bomb", "spin:") == PENDING
    (_, pid) = pool.pids()
    with contextlib.suppress(ProcessLookupError):
        assert is_readable(os.pidfd_open(pid), PATIENCE_S)
    pool.tend()
    assert pool.restarts == {"ended": 1}


@pytest.mark.parametrize(("path", "reason"), [("fill:", "memory"), ("exit:", "ended")])
def test_a_subject_that_ends_two_readers_is_hostile(opened: Open, path: str, reason: str) -> None:
    """One may be bad luck: memory is short for many reasons."""
    pool = opened()
    assert refused(pool, "bomb", path) == PENDING
    assert pool.restarts == {reason: 1}
    assert answered(pool, "quick") == b"quick"
    assert refused(pool, "bomb", path) == HOSTILE
    assert pool.restarts == {reason: 2}
    assert refused(pool, "bomb", "x") == HOSTILE
    assert answered(pool, "quick") == b"quick"


def test_what_was_read_before_is_nothing_that_a_subject_is_blamed_for(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with hundreds of binaries fills the memory, and a neighbour meets its end."""
    pool = opened()
    patient(pool, monkeypatch)
    for _ in range(6):
        assert pool.ask(Subject("x", "x"), "head", "hoard:100", 8) == b"hoard:10"
    assert pool.ask(Subject("x", "x"), "head", "hoarded:", 8) == b"1"
    assert not pool.restarts


def test_a_reader_does_not_keep_much(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, and the agent, have 256 MiB. Heap that the agent had freed is no room."""
    freed = [bytes(1000) for _ in range(300_000)]
    kept = freed[::50]
    del freed
    pool = opened()
    patient(pool, monkeypatch)
    for _ in range(9):
        for _ in range(15):
            assert pool.ask(Subject("x", "x"), "head", "hoard:1", 8) == b"hoard:1"
        assert int(pool.ask(Subject("x", "x"), "head", "hoarded:", 8)) < 64
    assert int(pool.ask(Subject("x", "x"), "head", "hoarded:", 8)) < 64
    assert not pool.restarts
    assert len(kept) == 6000


def test_a_reader_that_was_taken_over_is_replaced(opened: Open) -> None:
    pool = opened()
    assert refused(pool, "liar", "lie:") == HOSTILE
    assert pool.restarts == {"malformed": 1}
    assert answered(pool, "quick") == b"quick"


def test_waits_of_a_round_are_bounded_for_each_group_and_together(opened: Open, fifo: Path) -> None:
    pool = opened()
    answered(pool, "warm")
    pool.round_wait_s = 0.05
    pool.begin_round()
    with pytest.raises(AccessError, match=PENDING):
        pool.ask(Subject("slow", "group"), "head", f"wait:{fifo}", 8)
    with pytest.raises(AccessError, match=PENDING):
        pool.ask(Subject("quick", "group"), "head", "x", 8)
    assert len(pool.pids()) == 2  # the quick one was not even asked
    pool.round_wait_s = PATIENCE_S
    pool.begin_round()
    assert pool.ask(Subject("quick", "group"), "head", "x", 8) == b"x"
    pool.round_wait_s = 0.0
    assert refused(pool, "other") == PENDING
    assert not pool.restarts


def test_many_rounds_do_not_wait_longer_than_one(opened: Open) -> None:
    """A window has rounds for new processes, for drains and for its end. It was late by all."""
    pool = opened()
    answered(pool, "warm")
    pool.round_wait_s, pool.waits_per_s = 1.5, 0.0
    pool._left_s = -0.1  # used up
    assert refused(pool, "quick") == PENDING
    assert refused(pool, "quick") == PENDING
    pool.waits_per_s = 0.25
    pool._left_s = -0.1
    pool._round_began_s -= 2
    pool.begin_round()
    assert 0.5 <= pool._left_s <= pool.round_wait_s
    pool._round_began_s -= 60
    pool.begin_round()
    assert pool._left_s == pool.round_wait_s
    assert pool.ask(Subject("quick", "quick"), "head", "quick", 8) == b"quick"


def test_readers_that_do_not_die_are_few_and_not_waited_for(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in state D, which a file system that does not answer can cause."""
    pool = opened()
    impatient(monkeypatch)

    def stuck(subject: str) -> str:
        reason = refused(pool, subject, f"wait:{fifo}")
        with monkeypatch.context() as patched:
            patched.setattr(pool_module, "WALL_S", 0.0)
            pool.tend()
        return reason

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "is_alive", lambda _: True)
        number = 0
        while (reason := stuck(f"stuck {number}")) != STUCK:
            assert reason == PENDING
            number += 1
            assert pool.abandoned == number <= 16
            assert number == 16 or answered(pool, "quick") == b"quick"
        assert number == 16
    assert answered(pool, "other") == b"other"  # now they are seen to have ended


@pytest.mark.parametrize("how", [signal.SIGSTOP, None])
def test_closing_waits_for_no_reader(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals | None
) -> None:
    pool = opened()
    impatient(monkeypatch)
    assert refused(pool, "slow", f"wait:{fifo}") == PENDING
    pid = pool.pids()[1]
    pidfd = os.pidfd_open(pid)
    if how is not None:
        os.kill(pid, how)
    pool.close()
    assert is_readable(pidfd, PATIENCE_S)
    os.close(pidfd)


_PARENT = """
import os, signal, sys, threading
from gotax.errors import AccessError
from gotax.reader import pool as pool_module
from gotax.reader.asking import Subject
from gotax.reader.pool import Pool
from gotax.reader.server import ForkServer
pool_module.WAIT_S = 600
server = ForkServer()
pool = Pool(server, 600)
pool.ask(Subject("me", "me"), "exe_id", "/proc", "self")
os.kill(pool.pids()[1], signal.SIGSTOP)
pool_module.WAIT_S = 0.1
try:
    pool.ask(Subject("me", "me"), "exe_id", "/proc", "self")
except AccessError:
    pass
print(*pool.pids(), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_survives_the_agent(number: signal.Signals) -> None:
    """However the agent ends, and whatever its readers do."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        pidfds = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(pidfds) == 2
        parent.send_signal(number)
        parent.wait()
        for pidfd in pidfds:
            assert is_readable(pidfd, PATIENCE_S)
            os.close(pidfd)


def test_a_reader_has_no_more_rights_than_it_needs(opened: Open, tmp_path: Path) -> None:
    with (tmp_path / "open").open("wb"):
        pool = opened()
        answered(pool, "x")
        server, reader = pool.pids()
        for pid in (server, reader):
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":\t" in line
            )
            held = int(status["CapEff"], 16)
            assert held & ~(1 << 1 | 1 << 2 | 1 << 19 | 1 << 21 | 1 << 40) == 0
            assert int(status["CapPrm"], 16) == held
            if held >> 2 & 1:
                assert not held >> 1 & 1  # DAC_OVERRIDE, which may write
            assert status["NoNewPrivs"] == "1"
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert "Max core file size        0 " in limits
            assert "Max file size             0 " in limits
            links = [os.readlink(fd.path) for fd in os.scandir(f"/proc/{pid}/fd")]
            assert sum(link.startswith("socket:") for link in links) == 1
            # The server may not have closed yet the pidfd that it has sent, and gRPC, where the
            # tests have loaded it, opens an event loop of its own in each child.
            assert len([link for link in links if not link.startswith("anon_inode:")]) == 4
            assert str(tmp_path / "open") not in links
        size = int(Path(f"/proc/{reader}/statm").read_text().split()[0]) * 4096
        allowed = next(
            int(line.split()[3])
            for line in Path(f"/proc/{reader}/limits").read_text().splitlines()
            if line.startswith("Max address space")
        )
        assert 0 < allowed - size <= 161 << 20
        assert Path(f"/proc/{reader}/oom_score_adj").read_text() == "1000\n"


def test_nothing_waits_while_the_agent_ends(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = opened()
    answered(pool, "warm")
    monkeypatch.setattr(pool_module, "WAIT_S", 1e6)
    pool.round_wait_s = 1e6
    asked = iter([False, True])
    pool.is_stopping = lambda: next(asked, True)
    assert refused(pool, "slow", f"wait:{fifo}") == PENDING


def test_a_server_without_room_forks_later(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at a limit of processes: no error ends the agent."""
    fork, calls = os.fork, [0]

    def failing() -> int:
        calls[0] += 1
        if calls[0] == 2:  # in the server
            raise BlockingIOError
        return fork()

    monkeypatch.setattr(os, "fork", failing)
    pool = opened()
    assert refused(pool, "first") == PENDING
    assert answered(pool, "first") == b"first"


def test_a_server_that_has_ended_is_an_error(opened: Open) -> None:
    """A user sees it: the agent ends, and is started again."""
    pool = opened()
    (server,) = pool.pids()
    os.kill(server, signal.SIGKILL)
    with pytest.raises(TransientError, match="no process to read with"):
        pool.ask(Subject("x", "x"), "head", "x", 1)


def test_of_a_group_that_never_answers_nothing_more_is_read(
    opened: Open, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one container with a file system of its own takes all readers there may be."""
    pool = opened()
    impatient(monkeypatch)
    monkeypatch.setattr(pool_module, "WALL_S", 0.0)
    monkeypatch.setattr(pool_module, "_REST", 0)
    for number in range(2):
        pool.begin_round()
        with pytest.raises(AccessError, match=PENDING):
            pool.ask(Subject(number, "group"), "head", f"wait:{fifo}", 8)
        pool.tend()
    pool.begin_round()
    with pytest.raises(AccessError, match=HOSTILE):
        pool.ask(Subject(2, "group"), "head", "x", 8)
    assert pool.restarts == {"time": 2}
    monkeypatch.undo()
    assert answered(pool, "other") == b"other"
