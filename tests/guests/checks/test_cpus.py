"""Possible, online and offline CPUs, and CPUs that come and go while gotax runs."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from gotax.sampling.cpus import online_cpus, possible_cpus
from gotax.sampling.sampler import Counter
from prometheus_client.parser import text_string_to_metric_families

from tests.guests.checks.services import OLD, Service, check, online, switch
from tests.kernel.load import Group, Load, Walk, gotax, samples_by_process, wait_until
from tests.toolchains import go_binary

LISTEN = "127.0.0.1:19745"


@pytest.fixture
def removable() -> Iterator[list[int]]:
    """The two highest CPUs that are online; all are back after the test."""
    cpus = sorted(online_cpus())[1:][-2:]
    if len(cpus) < 2:
        pytest.skip("needs three CPUs")
    yield cpus
    for cpu in cpus:
        switch(cpu, on=True)


@contextmanager
def offline(cpus: list[int]) -> Iterator[None]:
    for cpu in cpus:
        switch(cpu, on=False)
    try:
        yield
    finally:
        for cpu in cpus:
            switch(cpu, on=True)


def test_cpus_that_never_come_have_no_timer() -> None:
    """The kernel has room for more CPUs than there are, and counts for each of them."""
    possible = len(possible_cpus())
    if possible == len(online_cpus()):
        pytest.skip("all possible CPUs are online")
    with Load("python3", "-c", "while True: pass") as program, Walk(49) as walk:
        walk.drain_for(1.0, program)
        window = walk.window()
        assert walk.drains[-1].cpus == len(online_cpus()) < possible
        interrupts = walk.counted(Counter.INTERRUPTS)
        # The drain reads the counters a moment after it has read the counts.
        assert interrupts >= walk.counted(Counter.IDLE) + walk.samples() > walk.samples() > 0
        assert sum(samples_by_process(window).values()) > 0


def test_offline_cpus_do_not_count(removable: list[int], group: Callable[[str], Group]) -> None:
    """A program started before keeps its Ps, one started meanwhile has fewer, and both are read."""
    before = online()
    with ExitStack() as stack:
        early = stack.enter_context(Service("gomaxprocs", OLD, group=group("early")))
        stack.enter_context(offline(removable))
        late = stack.enter_context(Service("gomaxprocs", OLD, group=group("late")))
        early.load.wait_for_work(0.05)
        late.load.wait_for_work(0.05)
        pids = (early.load.pid, late.load.pid)
        document = check("-d", "3", *(f"--pid={pid}" for pid in pids))
        assert online() == before - len(removable)
    assert document["cpu_count"] == before - len(removable)
    read = {c["pids"][0]: c["gomaxprocs"]["value"] for c in document["containers"]}
    assert read == dict(zip(pids, (before, before - len(removable)), strict=True))
    assert (early.value, late.value) == tuple(read[pid] for pid in pids)


def test_a_cpu_that_returns_is_sampled_again(removable: list[int]) -> None:
    """What runs only there is found before and after, and no sample is lost in between."""
    cpu = removable[-1]
    spin = ("taskset", "-c", str(cpu), go_binary("findings", OLD), "-work", "1000")
    with Load(*spin) as program, Walk(49) as walk:

        def found() -> int:
            walk.drain_for(0.5, program)
            counted = samples_by_process(walk.window())
            return counted[program.pid, program.start_ticks()]

        wait_until(found, "its samples")
        timers = walk.drains[-1].cpus
        with offline([cpu]):  # the kernel moves its threads to other CPUs
            wait_until(found, "its samples on another CPU")
            walk.drain()
            assert walk.drain().cpus == timers - 1
        pin = ("taskset", "-a", "-p", "-c", str(cpu), str(program.pid))
        subprocess.run(pin, check=True, capture_output=True)
        walk.drain()  # sees that it is back
        walk.window()
        wait_until(found, "its samples on the CPU that is back")
        assert walk.drains[-1].cpus == timers


def test_an_agent_goes_on_while_cpus_come_and_go(
    removable: list[int], group: Callable[[str], Group]
) -> None:
    with (
        Service("gomaxprocs", OLD, group=group("steady")) as service,
        gotax("agent", "-i", "5", "--listen", LISTEN) as agent,
    ):

        def windows() -> float:
            assert agent.poll() is None, agent.communicate()
            return metrics().get("gotax_profiled_seconds_total", {}).get("", 0.0)

        def more_windows() -> None:
            before = windows()
            wait_until(lambda: windows() > before, "a window")

        wait_until(lambda: windows() > 0, "the first window")
        for _ in range(2):
            with offline(removable):
                more_windows()
            more_windows()
        seen = metrics()
        values = {v for k, v in seen["gotax_gomaxprocs"].items() if "steady" in k}
        assert values == {service.value}
        assert sum(seen["gotax_samples_total"].values()) > 0
        lost = {k: v for k, v in seen["gotax_lost_samples_total"].items() if v}
        assert not any("full" in reason for reason in lost), lost
        agent.terminate()
        _, errors = agent.communicate()
    assert agent.returncode == 0, errors
    assert "Traceback" not in errors


def metrics() -> dict[str, dict[str, float]]:
    """Values by name and labels; nothing while the agent does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://{LISTEN}/metrics", timeout=60) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = " ".join(f"{k}={v}" for k, v in sample.labels.items())
            found.setdefault(sample.name, {})[labels] = sample.value
    return found
