from __future__ import annotations

import sys

import pytest
from gotax import cli
from gotax.cli import agent
from gotax.errors import UserError
from gotax.exporters.backends import KINDS, open_delivery
from gotax.exporters.backends.delivery import Delivery
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint


def deliveries(*flags: str) -> list[Delivery]:
    return agent.deliveries(cli.build_parser().parse_args(["agent", *flags]))


def test_without_a_flag_nothing_is_sent() -> None:
    """And the agent collects no more details than for metrics."""
    assert deliveries() == []


def test_each_flag_makes_a_delivery() -> None:
    """Also all three together."""
    found = deliveries(
        *("--otlp-endpoint", "http://otel", "--pyroscope-endpoint", "https://p/below"),
        *("--parca-endpoint", "http://parca:1"),
    )
    assert [delivery.name for delivery in found] == ["otlp", "pyroscope", "parca"]


def test_all_flags_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port, header, files and user go to the right backend."""
    seen: list[Endpoint] = []

    def keep(_: object, endpoint: Endpoint) -> None:
        seen.append(endpoint)

    monkeypatch.setattr(agent, "open_delivery", keep)
    deliveries(
        *("--pyroscope-endpoint", "https://p", "--pyroscope-header", "X-Scope-OrgID=a"),
        *("--pyroscope-token-file", "t", "--pyroscope-user", "u", "--pyroscope-ca", "ca"),
        *("--pyroscope-cert", "c", "--pyroscope-key", "k", "--otlp-endpoint", "http://o"),
    )
    otlp, pyroscope = seen
    assert (otlp.port, pyroscope.port) == (4317, 4040)
    credentials = pyroscope.credentials
    assert credentials.headers == (("x-scope-orgid", "a"),)
    assert (credentials.token_file, credentials.user) == ("t", "u")
    assert (credentials.ca, credentials.certificate, credentials.key) == ("ca", "c", "k")
    assert otlp.credentials.headers == ()


def test_all_flags_of_the_collector_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS and without it."""
    seen: list[Endpoint] = []

    def keep(endpoint: Endpoint, *_: object) -> None:
        seen.append(endpoint)

    monkeypatch.setattr("gotax.exporters.stream.exporter.StreamExporter", keep)
    for flags in (
        ("--collector", "[fd00::5]:9746", "--collector-plaintext"),
        (
            *("--collector", "C.example:1", "--collector-token-file", "t", "--collector-ca", "ca"),
            *("--collector-cert", "c", "--collector-key", "k"),
        ),
    ):
        agent._stream(cli.build_parser().parse_args(["agent", *flags]))
    credentials = Credentials(ca="ca", certificate="c", key="k", token_file="t")
    assert seen == [
        Endpoint("fd00::5", 9746, is_secure=False),
        Endpoint("c.example", 1, is_secure=True, credentials=credentials),
    ]
    assert [each.authority for each in seen] == ["[fd00::5]:9746", "c.example:1"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ("--otlp-endpoint", "otel:4317"),
            "does not begin with http:// or https://: write http://HOST:PORT",
        ),
        (
            ("--collector", "c:1", "--collector-key", "k"),
            "--collector-cert and --collector-key go together",
        ),
        (
            ("--collector", "c:1", "--collector-plaintext", "--collector-ca", "ca"),
            "--collector-plaintext has no use for certificates",
        ),
        (
            ("--collector", "c:1", "--collector-token-file", "/nonexistent"),
            "cannot read /nonexistent: No such file or directory",
        ),
        (("--collector-name", "n"), "--collector-name needs --collector"),
        (("--otlp-ca", "x"), "--otlp-ca needs --otlp-endpoint"),
        (("--parca-header", "a=b"), "--parca-header needs --parca-endpoint"),
        (("--parca-token-file", "x"), "--parca-token-file needs --parca-endpoint"),
        (("--parca-endpoint", "http://p/x"), "gRPC knows no path"),
        (
            ("--otlp-endpoint", "https://o", "--otlp-token-file", "/nonexistent"),
            "cannot read /nonexistent: No such file or directory",
        ),
    ],
)
def test_mistakes_are_one_sentence(
    flags: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the remedy, before sampling, with exit code 2."""
    assert cli.main(["agent", *flags]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_an_invalid_header_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """By the parser, as for any other flag."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["agent", "--otlp-endpoint", "http://o", "--otlp-header", "nonsense"])
    assert caught.value.code == 2
    assert "NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "library", "remedy"),
    [
        ("otlp", "opentelemetry", "gotax[otlp]"),
        ("otlp", "grpc", "gotax[otlp]"),
        ("parca", "grpc", "pip install gotax"),
    ],
)
def test_a_missing_package_is_named(
    kind: str, library: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    for name in [m for m in sys.modules if m.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    for name in [m for m in sys.modules if m.startswith("gotax.exporters.")]:
        if name.rsplit(".", 1)[1] in ("opentelemetry", "parca", "grpccall", "otlp"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    [found] = [k for k in KINDS if k.name == kind]
    with pytest.raises(UserError) as caught:
        open_delivery(found, Endpoint("host", 1, False))
    assert str(caught.value).startswith(f"--{kind}-endpoint needs {library}")
    assert remedy in str(caught.value)


def test_pyroscope_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It uses HTTP, which Python includes."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    [kind] = [k for k in KINDS if k.name == "pyroscope"]
    assert open_delivery(kind, Endpoint("host", 1, False)).name == "pyroscope"
