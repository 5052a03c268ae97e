"""Addresses and URLs, and every flag that takes one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest
from gotax import cli
from gotax.cli import arguments
from gotax.cli.output import EXIT_FAILED
from gotax.wire.addresses import (
    AddressError,
    Form,
    Url,
    joined,
    parse_destination,
    parse_listen,
    parse_url,
)
from hypothesis import given
from hypothesis import strategies as st

FORM = Form("https://NODE:10250", {"https": 10250, "http": 10255})
LOGIN = Form("http://HOST", {"http": 80}, may_have_user=True, may_have_query=True)
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://node", ("https", "node", 10250, "")),
        ("http://node", ("http", "node", 10255, "")),
        ("HTTPS://Node.Example.:1/A/", ("https", "node.example.", 1, "/A/")),
        ("https://10.0.0.5:10250", ("https", "10.0.0.5", 10250, "")),
        ("https://[10.0.0.5]:10250", ("https", "10.0.0.5", 10250, "")),
        ("https://[FD00::5]:10250", ("https", "fd00::5", 10250, "")),
        ("https://[fd00::5]", ("https", "fd00::5", 10250, "")),
        # The chart's https://$(NODE_IP):10250 on a node with IPv6.
        ("https://fd00::5:10250", ("https", "fd00::5", 10250, "")),
        ("https://2001:db8:0:0:0:0:0:5:443", ("https", "2001:db8:0:0:0:0:0:5", 443, "")),
        ("https://::ffff:10.0.0.5:10250", ("https", "::ffff:10.0.0.5", 10250, "")),
        ("https://fd00::5", ("https", "fd00::5", 10250, "")),
        ("https://[fe80::1%eth0]:1", ("https", "fe80::1%eth0", 1, "")),
        ("https://[fe80::1%25eth0]:1", ("https", "fe80::1%eth0", 1, "")),
        ("https://fe80::1%eth0:10250", ("https", "fe80::1%eth0", 10250, "")),
        ("https://b\u00fccher.example", ("https", "xn--bcher-kva.example", 10250, "")),
        ("https://a_b.c-d", ("https", "a_b.c-d", 10250, "")),
    ],
)
def test_valid_urls(text: str, expected: tuple[str, str, int, str]) -> None:
    """Clients get ASCII, IPv6 without brackets, and always a port."""
    assert parse_url(text, FORM) == Url(*expected)


def test_the_text_of_a_url() -> None:
    """IPv6 in brackets, and no login or query, because it is logged."""
    assert str(parse_url("https://fd00::5:10250/a", FORM)) == "https://[fd00::5]:10250/a"
    url = parse_url(f"http://me:{SECRET}%40@h/db?cluster=main", LOGIN)
    assert (url.user, url.password, url.query) == ("me", f"{SECRET}@", "cluster=main")
    assert SECRET not in f"{url} {url!r}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("node:10250", "'node:10250' does not begin with https:// or http://"),
        ("https:/node", "does not begin with"),
        ("unix:/run/x.sock", "'unix:' does not begin with"),
        ("ftp://node", "'ftp://node' does not begin with"),
        ("https://", "'https://' has no host"),
        ("https:///path", "has no host"),
        ("https://:10250", "':10250' has no usable host"),
        ("https://a b", "has no usable host"),
        ("https://a\n", "has no usable host"),
        ("https://.a", "has no usable host"),
        ("https://*", "has no usable host"),
        ("https://256.1.1.1", "has no usable host"),
        ("https://10.0.1", "has no usable host"),
        ("https://" + "x" * 64 + ".y", "has no usable host"),
        ("https://" + "x." * 127, "has no usable host"),
        ("https://\u00fc" + "\u00fc" * 70, "has no usable host"),
        ("https://node:x", "no port from 1 to 65535"),
        ("https://node:", "no port"),
        ("https://node:0", "no port"),
        ("https://node:65536", "no port"),
        ("https://node:\uff11", "no port"),
        ("https://node:-1", "no port"),
        ("https://[::1", "no address in its brackets"),
        ("https://[]:1", "no address in its brackets"),
        ("https://[node]:1", "no address in its brackets"),
        ("https://[::1]1", "no address in its brackets"),
        ("https://[fe80::1%a b]:1", "no address in its brackets"),
        # Port 5 of fd00::1, or the address fd00::1:5? It is ambiguous.
        ("https://fd00::1:5", "write [fd00::1]:5 or [fd00::1:5]"),
        ("https://fd00::5:x", "too many colons"),
        ("https://a:b:c", "too many colons"),
        (f"https://me:{SECRET}@node", "a user or a password has no place"),
        (f"https://me:{SECRET}@", "a user or a password has no place"),
        (f"https://{SECRET}\\@node", "a user or a password has no place"),
        (f"https://node/?token={SECRET}", "goes on after its path"),
        (f"https://node#{SECRET}", "goes on after its path"),
        (f"https://node/{SECRET} ", "a space, a control character"),
        (f"https://node/\u00fc{SECRET}", "beyond ASCII"),
        (f"ftp://me:{SECRET}@node", "does not begin with"),
        (f"ftp://node/{SECRET}", "'ftp://node' does not begin with"),
        (f"https://node:{SECRET}", "no port"),
        (f"me:{SECRET}@node", "does not begin with"),
    ],
)
def test_an_invalid_url_is_one_sentence(text: str, says: str) -> None:
    """With the error and the right form, and never with a secret."""
    with pytest.raises(AddressError) as caught:
        parse_url(text, FORM)
    said = str(caught.value)
    assert says in said
    assert "write " in said
    assert SECRET not in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9745", ("", 9745)),
        (":0", ("", 0)),
        ("0.0.0.0:9745", ("0.0.0.0", 9745)),
        ("localhost:1", ("localhost", 1)),
        ("[::]:9745", ("::", 9745)),
        (":::9745", ("::", 9745)),  # as in netstat
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        ("::1:9745", ("::1", 9745)),  # a port is required, so the last part is one
    ],
)
def test_valid_listen_addresses(text: str, expected: tuple[str, int]) -> None:
    """A host, an address of either family, or nothing for all addresses."""
    assert parse_listen(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "::", "9745", "9745:", "localhost", "localhost:", ":99999", ":-1", ":x", "::1"),
        *("[::1]", "[::1]:", "[::1:1", "::1]:1", "fd00::5", "*:1", "a b:1", " :1", "http://x:1"),
        *("unix:/run/x", f"me:{SECRET}@host:1", f"host:{SECRET}", "256.0.0.1:1", ":1\n"),
    ],
)
def test_an_invalid_listen_address_is_one_sentence(text: str) -> None:
    """The same holds for the address of a collector."""
    for parse in (parse_listen, parse_destination):
        with pytest.raises(AddressError, match="write ") as caught:
            parse(text)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", [":9746", "collector:0"])
def test_a_destination_has_a_host_and_a_port(text: str) -> None:
    """Unlike a listen address."""
    parse_listen(text)
    with pytest.raises(AddressError):
        parse_destination(text)


def test_an_ipv6_destination_is_in_brackets() -> None:
    """gRPC requires them."""
    for text in ("[fd00::5]:9746", "fd00::5:9746"):
        assert joined(*arguments.destination(text)) == "[fd00::5]:9746"


@given(st.text(st.sampled_from("ah:/@[]%.?#1 0\u00fc\n\\-_*"), max_size=24))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    """And the text of a parsed address parses to the same address."""
    for given_text in (text, f"http://{text}"):
        try:
            url = parse_url(given_text, FORM)
        except AddressError:
            continue
        assert parse_url(str(url), FORM) == url
    for parse in (parse_listen, parse_destination):
        try:
            parse(text)
        except AddressError:
            continue


URLS = (
    *("https://", "http:///x", "https://[::1", "https://a b", "https://h:x", "https://h:0"),
    *("https://h:99999", "https://fd00::1:5", "unix:/run/x", "ftp://h/", "h:1", "::", "\u00fc:1"),
    *(f"https://{SECRET}:x@h:y", f"https://h/{SECRET}#x", f"https://me:{SECRET}@h:99999"),
    *(f"https://me:{SECRET}@[::", f"ftp://me:{SECRET}@h", f"https://h?a={SECRET}"),
)
PLACES = (
    *("https://h:1", "h", "h:", "h:x", "h:99999", "[::1", "a b:1", "unix:/run/x", "::"),
    *(f"me:{SECRET}@h:1", f"h:{SECRET}"),
)
NODE = ("--node", "x")
QUIET = ("--plaintext", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
TAKES: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    **{(name, "--kubelet"): (NODE, URLS) for name in ("check", "top", "agent")},
    ("explain", "--kubelet"): (("x", *NODE), URLS),
    ("record", "--kubelet"): (("-o", "-", *NODE), URLS),
    ("agent", "--listen"): ((), PLACES),
    ("agent", "--collector"): ((), (*PLACES, ":1", "h:0")),
    **{("agent", f"--{name}-endpoint"): ((), URLS) for name in ("otlp", "pyroscope", "parca")},
    ("collector", "--listen"): (("--plaintext", "--insecure-agents"), PLACES),
    ("collector", "--http"): (("--plaintext", "--insecure-http"), PLACES),
    ("collector", "--probes"): (QUIET, PLACES),
    ("collector", "--store"): (QUIET, (*URLS, "", "clickhouse:8123")),
    **{
        (f"fleet {name}", flag): (more, URLS)
        for name, more in (
            *(("top", ()), ("compare", ("w",)), ("changes", ()), ("flamegraph", ())),
            *(("functions", ()), ("diff", ("a=1", "b=1")), ("remedies", ())),
        )
        for flag in ("--collector", "--store")
    },
}
"""By command and flag: further required flags, and values that it must refuse."""


def flags(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, str]]:
    """The flags that take a URL or an address, by their help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, below in action.choices.items():
                yield from flags(below, f"{name} {inner}".strip())
        elif str(action.metavar) in ("URL", "HOST:PORT", "FOLDER|URL"):
            yield name, action.option_strings[-1]


def test_the_table_has_every_flag_with_an_address() -> None:
    """Add a new one to it."""
    options = pytest.importorskip("gotax_collector.cli.options")
    from gotax_collector.cli import fleet

    found = [
        *flags(cli.build_parser(), ""),
        *flags(options.parser(), "collector"),
        *flags(fleet.parser(), "fleet"),
    ]
    assert sorted(set(found)) == sorted(TAKES)


@pytest.mark.parametrize("where", TAKES, ids=" ".join)
def test_no_flag_gives_a_traceback_for_an_invalid_address(
    where: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An IPv6 URL of a kubelet did. One sentence, exit code 2, the flag's name, no secret."""
    command, flag = where
    if command.split()[0] in cli.COLLECTOR_COMMANDS:
        pytest.importorskip("gotax_collector.cli.command")
    more, values = TAKES[where]
    for value in values:
        try:
            code = cli.main([*command.split(), *more, f"{flag}={value}"])
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        said = output.err.splitlines()[0]
        assert code == EXIT_FAILED, (value, output)
        assert said.startswith("gotax")
        assert flag in said
        assert "write " in said, value
        assert SECRET not in output.err + output.out, value
