"""The whole agent: a real program is sampled, and all three receivers get the profile at once."""

from __future__ import annotations

import base64
import gzip
import json
import re
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gotax.wire.pprof.profile_pb2 import Profile

from tests.backends.collector import collecting
from tests.backends.receivers import listening
from tests.kernel.conftest import _patient, group, load, samples  # noqa: F401
from tests.kernel.load import GUARD_S, Group, Load, gotax, wait_until
from tests.toolchains import VERSIONS
from tests.unit.exporters.otlpsamples import samples_received

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.toolchain,
    pytest.mark.usefixtures("otelcol", "pyroscope", "parca"),
]

WINDOWS = 4


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def sent(text: str) -> dict[str, int]:
    found = re.findall(
        r'^gotax_backend_sent_profiles_total\{backend="(\w+)"\} ([\d.]+)$', text, re.M
    )
    return {name: int(float(value)) for name, value in found}


def pprof_samples(lines: list[str], cgroup: str) -> tuple[Counter[str], Counter[str]]:
    """By function of the leaf and by category."""
    functions: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    for line in lines:
        one: dict[str, Any] = json.loads(line)
        if not cgroup.endswith(one["Labels"]["container"]):
            continue
        profile = Profile.FromString(gzip.decompress(base64.b64decode(one["Profile"])))
        text = profile.string_table
        names = {function.id: text[function.name] for function in profile.function}
        leaves = {location.id: location.line[0].function_id for location in profile.location}
        for sample in profile.sample:
            labels = {text[label.key]: text[label.str] for label in sample.label}
            functions[names[leaves[sample.location_id[0]]]] += sample.value[0]
            categories[labels["category"]] += sample.value[0]
    return functions, categories


def test_all_three_receive_the_samples_of_the_agent(
    tmp_path: Path,
    go_binary: Callable[..., Path],
    load: Callable[..., Load],  # noqa: F811
    group: Callable[[str], Group],  # noqa: F811
) -> None:
    """The program's functions in their ratio, and the same samples at each of the three."""
    own = group("backends")
    load(go_binary("knownwork", VERSIONS[-1]), group=own)
    with (
        collecting(tmp_path) as collector,
        listening("pyroscope") as pyroscope,
        listening("parca") as parca,
    ):
        port_file = tmp_path / "log"
        with (
            port_file.open("w"),
            gotax(
                *("agent", "--listen", "127.0.0.1:0", "-i", "1", "--hz", "199"),
                *("--otlp-endpoint", f"http://127.0.0.1:{collector.port}"),
                *("--pyroscope-endpoint", f"http://{pyroscope.address}"),
                *("--parca-endpoint", f"http://{parca.address}"),
            ) as agent,
        ):
            assert agent.stderr is not None
            log = ""
            while not (found := re.search(r"metrics on port (\d+)", log)):
                line = agent.stderr.readline()
                assert line, log
                log += line
            port = int(found[1])
            wait_until(
                lambda: len(now := sent(metrics(port))) == 3 and min(now.values()) >= WINDOWS,
                "profiles to arrive",
            )
            agent.terminate()
            _, errors = agent.communicate(timeout=GUARD_S)
            assert agent.returncode == 0, log + errors
        requests = collector.stop()
        pushes, writes = pyroscope.stop(), parca.stop()

    functions: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    for request in requests:
        for (cgroup, category, _, stack), count in samples_received(request).items():
            if cgroup == own.path:
                functions[stack[0][1][0][0]] += count
                categories[category] += count
    assert functions.total() > 100
    assert (functions, categories) == pprof_samples(pushes, own.path)
    assert (functions, categories) == pprof_samples(writes, own.path)
    assert categories["user"] > 0.8 * categories.total()
    share = {name: functions[f"main.{name}"] / functions.total() for name in ("sixty", "thirty")}
    assert share == pytest.approx({"sixty": 0.6, "thirty": 0.3}, abs=0.12)
