"""What gotax inspect predicts from a binary, compared with what the program prints when it runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.linux.elf import FileReader
from gotax.preflight.forecast import environment_on, forecast
from gotax.preflight.inspecting import read_contents
from gotax.preflight.memory import NO_LIMIT, MemoryOrigin, gogc
from gotax.preflight.spec import Amount, ContainerSpec, Resources, Variable

from tests.patience import PATIENCE_S
from tests.toolchains import minor

pytestmark = pytest.mark.toolchain

GoBinary = Callable[..., Path]
CPUS = len(os.sched_getaffinity(0))
RELEASES = ("1.18.10", "1.21.13", "1.25.12", "1.26.8", "1.27.3")


def started(path: Path, environment: dict[str, str]) -> tuple[int, int, int] | None:
    """GOMAXPROCS, GOGC and the memory limit that it prints; None if it ends at its start."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GO")}
    done = subprocess.run(
        [path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode:
        assert "malformed GOMEMLIMIT" in done.stderr
        return None
    procs, percent, _, limit = done.stdout.split()[:4]
    return int(procs), int(percent), int(limit)


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize(
    "text",
    ["", "off", "100MiB", "1073741824", "5B", "512Mi", "1G", "1.5GiB", "-1", "-0", "+1", "9TiB"],
)
def test_the_memory_limit(go_binary: GoBinary, version: str, text: str) -> None:
    """A malformed one ends the program, since Go 1.19."""
    path = go_binary("runtimestate", version)
    with FileReader(path) as reader:
        program = read_contents(reader, str(path)).program
    assert program is not None
    spec = ContainerSpec(variables=(Variable("GOMEMLIMIT", text),))
    found = forecast(program, spec, (CPUS,)).memory
    printed = started(path, {"GOMEMLIMIT": text})
    if printed is None:
        assert found.origin is MemoryOrigin.MALFORMED
    elif version == "1.18.10":
        assert found.origin is MemoryOrigin.UNSUPPORTED
    else:
        assert found.origin in (MemoryOrigin.ENVIRONMENT, MemoryOrigin.NONE)
        assert printed[2] == (NO_LIMIT if found.limit_bytes is None else found.limit_bytes)


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("text", ["", "off", "200", "0", "-5", "50%", "+50", "1e2", "4294967296"])
def test_the_percentage(go_binary: GoBinary, version: str, text: str) -> None:
    printed = started(go_binary("runtimestate", version), {"GOGC": text})
    expected = gogc(text, minor(version))
    assert printed is not None
    assert printed[1] == (100 if expected is None else expected)


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("request_cores", [None, 0.1, 0.5, 0.75, 1.0, 3.3])
def test_what_cri_o_injects(go_binary: GoBinary, version: str, request_cores: float | None) -> None:
    """The program, started with the variable as CRI-O would inject it, has the value predicted."""
    path = go_binary("runtimestate", version)
    with FileReader(path) as reader:
        program = read_contents(reader, str(path)).program
    assert program is not None
    request = None if request_cores is None else Amount(request_cores, str(request_cores))
    spec = ContainerSpec(resources=Resources(cpu_request=request), min_injected=1)
    (node,) = forecast(program, spec, (CPUS,)).nodes
    printed = started(path, environment_on(spec, CPUS)[0])
    assert printed is not None
    assert printed[0] == node.gomaxprocs.value
