"""pprof pushes, with Pyroscope's own handler and Parca's own message types."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from gotax.category import Category
from gotax.exporters.backends.delivery import Delivery
from gotax.exporters.backends.parca import ParcaBackend
from gotax.exporters.backends.pyroscope import PyroscopeBackend
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import parse_endpoint
from gotax.window import Window
from gotax.wire.pprof.profile_pb2 import Profile

from tests.backends.receivers import Listener, listening
from tests.unit.exporters.windows import build_window, hostile_load, story_window

TENANT = Credentials(headers=(("x-scope-orgid", "team-a"),))


def pushed(backend: PyroscopeBackend | ParcaBackend, window: Window) -> Delivery:
    delivery = Delivery(backend)
    delivery.publish(window)
    end = time.monotonic() + 180
    while delivery.account().waiting:
        assert time.monotonic() < end, delivery.account()
        time.sleep(0.02)
    delivery.close()
    return delivery


def received(listener: Listener) -> list[dict[str, Any]]:
    return [json.loads(line) for line in listener.stop()]


def by_category(data: bytes) -> Counter[str]:
    profile = Profile.FromString(gzip.decompress(data))
    text = profile.string_table
    found: Counter[str] = Counter()
    for sample in profile.sample:
        labels = {text[label.key]: text[label.str] for label in sample.label}
        found[labels["category"]] += sample.value[0]
    return found


def assert_holds(window: Window, found: list[dict[str, Any]]) -> None:
    """Each container's report has arrived, by category, with the container's labels."""
    assert {
        (one["Labels"]["container"], one["Labels"].get("container_id")): by_category(
            base64.b64decode(one["Profile"])
        )
        for one in found
    } == {
        (r.container.name, r.container.container_id and r.container.container_id[:12]): {
            c.label: int(r.category_samples[c]) for c in Category if r.category_samples[c]
        }
        for r in window.reports
    }
    assert len(found) == len(window.reports)


def assert_pprof_opens(found: list[dict[str, Any]], window: Window, folder: Path) -> None:
    """``go tool pprof`` shows the CPU time of the report, by category."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go command on PATH")
    [one] = [one for one in found if one["Labels"]["container"] == "payments-api"]
    [report] = [r for r in window.reports if r.container.name == "payments-api"]
    path = folder / "pushed.pb.gz"
    path.write_bytes(base64.b64decode(one["Profile"]))
    done = subprocess.run(
        [go, "tool", "pprof", "-tags", "-unit=ms", str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    [groups] = [part for part in done.stdout.split("\n\n") if part.startswith(" group:")]
    for group, samples in (("gc", 51), ("scheduler", 86), ("user", 96)):
        [spent] = re.findall(rf"([\d.]+)ms \([\d.%\s]+\): {group}$", groups, re.M)
        assert float(spent) == pytest.approx(samples * window.period_ns / 1e6, rel=1e-3)
    done = subprocess.run(
        [go, "tool", "pprof", "-top", "-unit=ms", "-tagfocus=group=gc", str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    assert "runtime.scanobject" in done.stdout
    assert "main.parse" not in done.stdout
    total = re.search(r"([\d.]+)ms total", done.stdout)
    assert total
    assert float(total[1]) == pytest.approx(report.samples * window.period_ns / 1e6, rel=1e-3)


@pytest.mark.usefixtures("pyroscope")
def test_the_handler_of_pyroscope_accepts_the_pushes(tmp_path: Path) -> None:
    """Labels, tenant, ids and profiles pass through its own code, and pprof opens them."""
    window = story_window()
    with listening("pyroscope") as listener:
        endpoint = parse_endpoint(f"http://{listener.address}", 4040, TENANT)
        delivery = pushed(PyroscopeBackend(endpoint), window)
        found = received(listener)
    assert delivery.account().sent == len(window.reports)
    assert_holds(window, found)
    assert {one["Tenant"] for one in found} == {"team-a"}
    assert len({one["ID"] for one in found}) == len(found)
    for one in found:
        assert one["Labels"]["__name__"] == "process_cpu"
    assert_pprof_opens(found, window, tmp_path)


@pytest.mark.usefixtures("pyroscope")
def test_the_handler_of_pyroscope_accepts_hostile_names() -> None:
    """Escapes, line breaks, lone surrogates and very long names have become valid labels."""
    with listening("pyroscope") as listener:
        endpoint = parse_endpoint(f"http://{listener.address}", 4040)
        delivery = pushed(PyroscopeBackend(endpoint), build_window(hostile_load()))
        assert len(received(listener)) == 1
    assert not delivery.account().dropped


@pytest.mark.usefixtures("pyroscope")
def test_a_refusal_of_pyroscope_is_final(caplog: pytest.LogCaptureFixture) -> None:
    """An error of the Connect protocol, with its message in the log."""

    class Unnamed(PyroscopeBackend):
        def batches(self, window: Window) -> Any:
            for batch in super().batches(window):
                yield type(batch)(batch.body.replace(b"service_name", b"survice_name"), 6)

    with listening("pyroscope") as listener:
        endpoint = parse_endpoint(f"http://{listener.address}", 4040)
        delivery = pushed(Unnamed(endpoint), story_window())
    assert delivery.account().dropped == {"refused": 6}
    assert delivery.account().failures == {"http-400": 1}
    assert "invalid_argument: labels map" in caplog.text


@pytest.mark.usefixtures("parca")
def test_the_types_of_parca_parse_the_writes(tmp_path: Path) -> None:
    """Labels and profiles arrive, with addresses marked as link-time addresses; pprof opens
    them."""
    window = story_window()
    with listening("parca") as listener:
        endpoint = parse_endpoint(f"http://{listener.address}", 7070)
        delivery = pushed(ParcaBackend(endpoint), window)
        found = received(listener)
    assert delivery.account().sent == len(window.reports)
    assert_holds(window, found)
    assert all(one["Normalized"] for one in found)
    assert_pprof_opens(found, window, tmp_path)


@pytest.mark.usefixtures("parca")
def test_a_refusal_of_parca_is_final(caplog: pytest.LogCaptureFixture) -> None:
    """INVALID_ARGUMENT."""

    class Unnamed(ParcaBackend):
        def batches(self, window: Window) -> Any:
            for batch in super().batches(window):
                yield type(batch)(batch.body.replace(b"__name__", b"__nume__"), 6)

    with listening("parca") as listener:
        endpoint = parse_endpoint(f"http://{listener.address}", 7070)
        delivery = pushed(Unnamed(endpoint), story_window())
    assert delivery.account().dropped == {"refused": 6}
    assert "missing __name__ label" in caplog.text
