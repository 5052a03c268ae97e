"""GT020 on a live kernel: a pool of threads and a single one, each under a limit."""

from __future__ import annotations

import sys
import threading

from gotax.process import CpuUsage
from gotax.recipes import load_recipes
from gotax.scope import Scope
from gotax.session import Plan, Session
from gotax.window import OtherReport

from .load import SPIN, Group, Load, wait_for_work

POOL = """
import hashlib, threading
def work():
    while True:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 4000)  # without the interpreter's lock
for _ in range(5):
    threading.Thread(target=work).start()
work()
"""


class _Never(threading.Event):
    def wait(self, timeout: float | None = None, also: int | None = None) -> bool:  # noqa: ARG002
        return super().wait(timeout)


def look(group: Group, seconds: float) -> OtherReport:
    plan = Plan(99, 0.5, Scope(cgroups=(group.path,)), recipes=load_recipes)
    with Session(plan) as session:
        window = next(iter(session.windows(seconds, _Never())))
    (report,) = window.others
    assert report.container.cgroup == group.path
    return report


def test_a_pool_of_threads_under_a_limit_is_found() -> None:
    """Six threads under half a CPU: throttled, counted, and the setting of its environment."""
    env = {"OMP_NUM_THREADS": "6"}
    with Group("pool") as group:
        group.limit(0.5)
        group.favour()
        with Load(sys.executable, "-c", POOL, group=group, env=env) as load:
            wait_for_work(load.pid, 0.5)
            report = look(group, 3.0)
    use = report.use
    assert use.limit is not None
    assert use.limit.limit_cores == 0.5
    assert use.threads == 6
    assert use.threads_ran == 6
    assert use.runnable is not None
    assert use.runnable > 4
    assert use.throttling is not None
    assert use.throttling.usage != CpuUsage()
    (finding,) = report.findings
    assert finding.code == "GT020"
    assert "Set the variable OMP_NUM_THREADS to 1." in finding.remedy.text


def test_one_thread_under_a_limit_is_not() -> None:
    """It is throttled all the time, and no setting would help."""
    with Group("one") as group:
        group.limit(0.2)
        group.favour()
        with Load(sys.executable, "-c", SPIN, group=group) as load:
            wait_for_work(load.pid, 0.2)
            report = look(group, 3.0)
    assert report.use.throttling is not None
    assert report.use.throttling.periods[0] > 0
    assert report.findings == ()
