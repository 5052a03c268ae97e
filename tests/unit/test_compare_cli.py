"""gotax compare with valid and invalid recordings, including its exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gotax import cli, recording
from gotax.category import Category
from gotax.errors import ParseError
from gotax.exporters.comparison import SCHEMA
from gotax.process import NO_MEMORY_LIMIT
from gotax.recording import parse_recording
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.exporters.test_report import breaches, described, schema_of

DOCS = Path(__file__).parents[2] / "docs"


def container(name: str = "web", **changes: Any) -> dict[str, Any]:
    """22 s of the demo's service, oversized; the keys that a comparison reads."""
    return {
        "name": name,
        "cgroup": f"/shop/{name}",
        "container_id": None,
        "unit": None,
        "main_module": "example.com/web",
        "main_version": "v1.4.2",
        "go_version": "go1.26.8",
        "samples": 740,
        "drain_samples": [35] * 10 + [36] * 10,
        "cpu_seconds": 7.5,
        "shares": {"user": 0.4, "scheduler/find-work": 0.3, "gc/mark-idle": 0.2, "alloc": 0.1},
        "gomaxprocs": {"value": 192, "expected": 192, "recommended": 1},
        "cpu_limit_cores": 1.0,
        "throttled_s": 0.5,
        "throttled_periods": 3,
        "periods": 220,
        "findings": [{"code": "GT001", "saving_cores": {"low": 0.1, "mid": 0.16, "high": 0.2}}],
        "processes": [{"command": "server"}],
        **changes,
    }


def fitting(name: str = "web", **changes: Any) -> dict[str, Any]:
    return container(
        name,
        **{
            "samples": 370,
            "drain_samples": [18] * 20,
            "cpu_seconds": 3.7,
            "shares": {"user": 0.7, "scheduler/find-work": 0.1, "gc/mark-dedicated": 0.2},
            "gomaxprocs": {"value": 1, "expected": 1, "recommended": 1},
            "findings": [],
            **changes,
        },
    )


def document(*containers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema": "gotax.record/v2",
        "host": "node-17",
        "cpu_count": 2,
        "start_unix_ns": 1_764_000_000_000_000_000,
        "duration_s": 22.0,
        "containers": list(containers),
        **changes,
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, object], str]:
    def write_file(name: str, content: object) -> str:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(json.dumps(content))
        return str(path)

    return write_file


@pytest.fixture
def run(
    write: Callable[[str, object], str], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """run(before, after, *flags): exit code, standard output and error."""

    def compare(before: object, after: object, *flags: str) -> tuple[int, str, str]:
        files = write("before.json", before), write("after.json", after)
        try:
            code = cli.main(["compare", *files, *flags])
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return compare


Run = Callable[..., tuple[int, str, str]]


def test_the_example_as_text(run: Run) -> None:
    """CPU, shares, GOMAXPROCS, and predicted and realised saving, at the same work."""
    flags = ("--throughput", "3333", "3333")
    code, text, _ = run(document(container()), document(fitting()), *flags)
    assert code == 0
    assert "GOMAXPROCS 192 → 1" in text or "GOMAXPROCS 192 -> 1" in text
    assert re.search(r"CPU, cores +0\.341 +0\.168 +-0\.173 +-0\.1\d+ to -0\.1\d+", text)
    assert re.search(r"runtime share, % +50\.0 +30\.0 +-20\.0 +-2\d\.\d to -1\d\.\d", text)
    assert re.search(r"Saved +0\.173 cores \(95 % interval 0\.1\d+ to 0\.1\d+\), 51% of", text)
    assert re.search(r"Predicted +0\.160 cores, between 0\.100 and 0\.200", text)
    assert "the saving is within the predicted range" in text
    assert re.search(r"CPU per unit of work, (µ|u)s +102 +50\.5", text)


def test_the_example_as_json_matches_its_schema(run: Run) -> None:
    """Every part is there, and documented in docs/json.md."""
    flags = ("--json", "--work-before", "73326", "--work-after", "73326")
    before = document(container(), container("idle", main_module="example.com/idle"))
    code, text, _ = run(before, document(fitting()), *flags)
    assert code == 0
    found = json.loads(text)
    schema = schema_of("compare-v2.json")
    assert found["schema"] == SCHEMA
    assert breaches(found, schema, schema) == []
    (comparison,) = found["comparisons"]
    assert comparison["saving_cores"]["outcome"] == "within"
    assert comparison["cpu_s_per_unit"]["before"] == pytest.approx(7.5 / 73326)
    assert found["unmatched"][0]["name"] == "idle"


def test_the_page_names_every_key_of_the_schema() -> None:
    """docs/json.md documents exactly the keys of gotax.compare/v2."""
    schema = schema_of("compare-v2.json")
    page = (DOCS / "json.md").read_text()
    part = next(part for part in page.split("\n## ") if part.startswith("`gotax compare"))
    rows = re.findall(r"^\| `([\w.\[\]]+)` \|", part, re.MULTILINE)
    assert {row.replace("[]", "").split(".")[-1] for row in rows} == described(schema, schema)


def test_a_check_can_be_compared_like_a_record(run: Run) -> None:
    """`gotax check --json` and `explain --json` contain the same container."""
    before = document(container(), schema="gotax.check/v3", start_unix_s=1.7e9)
    after = document(schema="gotax.explain/v3", container=fitting(), start_unix_s=1.7e9)
    code, text, _ = run(before, after, "--json")
    assert code == 0
    assert json.loads(text)["after"]["start_unix_s"] == 1.7e9


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in document(container()).items() if name != key}


WHOLE = json.dumps(document(container())).encode()


def test_recordings_of_the_previous_version_are_read(run: Run) -> None:
    """A recording made before an upgrade of gotax, compared with one made after it."""

    def old(one: dict[str, Any]) -> dict[str, Any]:
        names = {"samples": "hits", "drain_samples": "drain_hits"}
        return {names.get(key, key): value for key, value in one.items()}

    whole = run(document(container()), document(fitting()), "--json")
    assert whole[0] in (0, 1)
    before = document(old(container()), schema="gotax.record/v1")
    assert run(before, document(fitting()), "--json") == whole
    before = document(old(container()), schema="gotax.check/v2")
    assert run(before, document(fitting()), "--json") == whole
    # The old names are valid only in an old document.
    code, _, error = run(document(old(container())), document(fitting()))
    assert (code, "samples is missing" in error or "samples" in error) == (2, True)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (b"", "not JSON, or truncated"),
        (WHOLE[:-20], "not JSON, or truncated"),
        (b"\x1f\x8b\x08\x00pprof", "not JSON, or truncated"),
        (b"[" * 100_000, "not JSON, or truncated"),
        (b"[]", "is not a recording"),
        ({"schema": "other/v1"}, "is not a recording"),
        (document(container(), schema="gotax.record/v3"), "newer schema"),
        (document(container(), schema="gotax.record/v99999999"), "newer schema"),
        (document(container(), schema="gotax.check/v1"), "older schema"),
        (document(container(), schema="gotax.record/v0"), "older schema"),
        (without("containers"), "older gotax"),
        (document(), "no Go container"),
        (document(container("other", main_module="m")), "no container in common"),
        (document(container(samples=-1)), "samples is not a count"),
        (document(container(cpu_seconds="7")), "cpu_seconds is not a number"),
        (document(container(shares={"user": 2})), "share is above 1"),
        (document(container(), duration_s=0), "duration_s is not above 0"),
        (WHOLE.replace(b"7.5", b"NaN"), "not JSON"),
        (WHOLE.replace(b"7.5", b"1e999"), "too large"),
        (WHOLE.replace(b"740", b"9" * 5000), "not JSON"),
    ],
    ids=str,
)
def test_invalid_input_is_one_sentence(run: Run, before: object, words: str) -> None:
    """Exit code 2, a sentence with the error, nothing on standard output."""
    code, text, error = run(before, document(fitting()))
    assert (code, text) == (2, "")
    assert words in error
    assert error.startswith("gotax: ")
    assert error.count("\n") == 1
    code, text, again = run(document(fitting()), before)
    assert (code, text, words in again) == (2, "", True)


def test_a_missing_file_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "/nowhere/a.json", "/nowhere/b.json"]) == 2
    assert capsys.readouterr().err == (
        "gotax: cannot read /nowhere/a.json: No such file or directory\n"
    )


def test_a_recording_that_is_too_large_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not parsed."""
    monkeypatch.setattr(recording, "MAX_BYTES", 100)
    code, _, error = run(document(container()), document(fitting()))
    assert code == 2
    assert "record for a shorter time" in error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--work-before", "10"), "given together"),
        (("--work-before", "1", "--work-after", "1", "--throughput", "1", "1"), "use either"),
        (("--throughput", "0", "1"), "an amount of work"),
        (("--throughput", "5"), "expected 2 arguments"),
        (("--container", "nobody"), "matches 'nobody'"),
        (("-c", "a", "-c", "b", "-c", "c"), "one name"),
    ],
    ids=str,
)
def test_contradicting_flags(run: Run, flags: tuple[str, ...], words: str) -> None:
    """Exit code 2 and a sentence."""
    code, text, error = run(document(container()), document(fitting()), *flags)
    assert (code, text) == (2, "")
    assert words in error


def test_work_needs_a_single_container(run: Run) -> None:
    """With two pairs --container is required."""
    both = document(container("a"), container("b", main_module="example.com/b"))
    after = document(fitting("a"), fitting("b", main_module="example.com/b"))
    code, _, error = run(both, after, "--throughput", "1", "1")
    assert code == 2
    assert "--container" in error
    code, _, _ = run(both, after, "--throughput", "1", "1", "--container", "b")
    assert code == 0


@pytest.mark.parametrize("name", ["web", "/shop/web", "example.com/web", "server", "0123"])
def test_a_container_is_found_by_any_of_its_names(run: Run, name: str) -> None:
    """Name, cgroup, module, command, the beginning of the id; each side may have its own name."""
    own = {"container_id": "0123456789abcdef"}
    before = document(container(**own), container("b", main_module="m", processes=[]))
    after = document(fitting("new"), fitting("b", main_module="m", processes=[]))
    code, text, _ = run(before, after, "-c", name, "-c", "new", "--json")
    assert code == 0
    (comparison,) = json.loads(text)["comparisons"]
    assert (comparison["name"], comparison["matched_by"]) == ("web", "container")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.data())
def test_no_value_gives_a_traceback(data: st.DataObject) -> None:
    """Any value at any position of a recording is accepted, or refused with a reason."""
    whole = document(container())
    place: Any = whole
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0]))
        inner = place[key]
        if not inner or not isinstance(inner, dict | list) or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(JSON)
    refusal, found = None, None
    try:
        found = parse_recording(json.dumps(whole).encode())
    except ParseError as error:
        refusal = error
    if refusal is not None:
        assert refusal.reason.startswith("recording-")
        assert "\n" not in str(refusal)
    for subject in found.subjects if found is not None else ():
        assert subject.observation.cores >= 0
        assert subject.observation.cores_variance >= 0


def test_an_infinite_variance_is_refused() -> None:
    """CPU seconds over a very short time: the squares overflow."""
    whole = document(container(drain_samples=[1, 3]), duration_s=1e-200)
    with pytest.raises(ParseError, match="too large"):
        parse_recording(json.dumps(whole).encode())


@given(st.binary(max_size=200))
def test_no_bytes_give_a_traceback(data: bytes) -> None:
    """Invalid bytes are refused."""
    with pytest.raises(ParseError):
        parse_recording(data)


@given(st.integers(0, 10**7), st.data())
def test_counts_are_restored_from_ratios(samples: int, data: st.DataObject) -> None:
    """A recording has shares; the restored samples of each category are exact."""
    part = data.draw(st.integers(0, samples))
    shares = {"user": part / samples, "alloc": (samples - part) / samples} if samples else {}
    whole = document(container(samples=samples, shares={c.label: 0.0 for c in Category} | shares))
    (subject,) = parse_recording(json.dumps(whole).encode()).subjects
    assert subject.observation.category_samples[Category.USER] == part
    assert subject.observation.samples == samples


def collected(gogc: int, limit: int, **changes: Any) -> dict[str, Any]:
    runtime = {"gogc": gogc, "memory_limit_bytes": limit}
    held = {
        "code": "GT016",
        "remedy": {"setting": "GOMEMLIMIT=324MiB"},
        "saving_cores": {"low": 0.1, "mid": 0.15, "high": 0.2},
    }
    processes = [{"command": "server", "runtime": runtime}]
    return container(**{"findings": [held], "processes": processes, **changes})


def test_a_higher_memory_limit_is_compared_with_its_prediction(run: Run) -> None:
    """GT016 predicted it; the largest number of the runtime is no limit at all."""
    before = document(collected(100, 175 << 20))
    after = document(collected(100, 324 << 20, cpu_seconds=3.9))
    code, text, _ = run(before, after)
    assert code == 0
    assert "GOMEMLIMIT 175 MiB → 324 MiB" in " ".join(text.replace("->", "→").split())
    assert "the saving is within the predicted range" in " ".join(text.split())
    _, text, _ = run(before, after, "--json")
    (found,) = json.loads(text)["comparisons"]
    assert found["saving_cores"]["predicted_for"] == "GOMEMLIMIT=324MiB"
    assert (found["before"]["gogc"], found["after"]["memory_limit_bytes"]) == (100, 324 << 20)
    schema = schema_of("compare-v2.json")
    assert breaches(json.loads(text), schema, schema) == []
    _, text, _ = run(document(collected(100, NO_MEMORY_LIMIT)), after)
    assert "GOMEMLIMIT none" in text
    _, text, _ = run(before, document(collected(200, 175 << 20)))
    assert "for GOMEMLIMIT=324MiB; it is 175 MiB" in " ".join(text.split())
    assert "GOGC 100" in text


@pytest.mark.parametrize(
    ("setting", "predicted"),
    [("GOGC=400", 0.15), ("GOGC=$(reboot)", None), (7, None), (None, None)],
)
def test_a_setting_of_a_recording_is_one_of_two(
    run: Run, setting: object, predicted: float | None
) -> None:
    """Anything else is a prediction for GOMAXPROCS, which is the same on both sides."""
    given = collected(100, 175 << 20)
    given["findings"][0]["remedy"] = {"setting": setting}
    _, text, _ = run(document(given), document(collected(100, 324 << 20)), "--json")
    (found,) = json.loads(text)["comparisons"]
    assert (found["saving_cores"]["predicted_for"] == setting) is (predicted is not None)
    given["findings"][0]["remedy"] = setting
    assert run(document(given), document(given))[0] == 0


@pytest.mark.parametrize("key", ["gogc", "memory_limit_bytes"])
@pytest.mark.parametrize("value", ["1", True, 1e300])
def test_a_damaged_runtime_is_one_sentence(run: Run, key: str, value: object) -> None:
    given = collected(100, 1)
    given["processes"][0]["runtime"][key] = value
    code, _, error = run(document(given), document(fitting()))
    assert code == 2
    assert error.count("\n") == 1
