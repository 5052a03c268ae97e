from __future__ import annotations

from pathlib import Path

import pytest
from gotax.errors import UserError
from gotax.exporters.backends.endpoint import (
    Endpoint,
    Identity,
    parse_endpoint,
    parse_header,
    read_headers,
    require_readable,
    stamp,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://otel:4318", Endpoint("otel", 4318, False)),
        ("http://otel", Endpoint("otel", 4317, False)),
        ("https://otel.example.com", Endpoint("otel.example.com", 4317, True)),
        ("https://[fd00::1]:443/", Endpoint("fd00::1", 443, True)),
        ("https://gw/profiles/in/", Endpoint("gw", 4317, True, "/profiles/in")),
    ],
)
def test_an_endpoint_is_a_url(text: str, expected: Endpoint) -> None:
    """The scheme says whether there is TLS, and the port may be left out."""
    assert parse_endpoint(text, 4317) == expected


def test_an_address_of_six_is_in_brackets() -> None:
    """In the authority and in what people read."""
    assert parse_endpoint("http://[::1]:9", 1).authority == "[::1]:9"
    assert str(parse_endpoint("https://a/b", 1)) == "https://a:1/b"


@pytest.mark.parametrize(
    "text",
    [
        *("", "otel:4317", "localhost", "grpc://otel:4317", "http://", "http://:4317"),
        *("http://otel:99999", "http://otel:x", "http://[::1", "https://otel/?a=b"),
        *("https://me:hunter2@otel", "https://otel/#x"),
    ],
)
def test_what_is_no_endpoint_is_told_in_a_sentence(text: str) -> None:
    """And a secret in it is not repeated, because it would be in the log."""
    with pytest.raises(UserError) as caught:
        parse_endpoint(text, 4317)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "identity", "text"),
    [
        ("http", Identity(ca="ca.pem"), "without TLS"),
        ("http", Identity(certificate="a", key="b"), "without TLS"),
        ("https", Identity(certificate="a"), "go together"),
        ("https", Identity(key="a"), "go together"),
        ("https", Identity(user="a"), "needs a token file"),
    ],
)
def test_flags_that_do_not_fit_are_refused(scheme: str, identity: Identity, text: str) -> None:
    """Not ignored: somebody meant the connection to be safe."""
    with pytest.raises(UserError, match=text):
        parse_endpoint(f"{scheme}://otel", 4317, identity)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("X-Scope-OrgID=team-a", ("x-scope-orgid", "team-a")),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
    ],
)
def test_headers(text: str, expected: tuple[str, str]) -> None:
    """Names are in lower case, as HTTP/2 wants them."""
    assert parse_header(text) == expected


@pytest.mark.parametrize("text", ["", "a", "=b", "a b=c", "a=\r\nb: c", "a=\u00e9", "\u00e9=a"])
def test_what_is_no_header_is_refused(text: str) -> None:
    """A line break would begin another header."""
    with pytest.raises(UserError):
        parse_header(text)


def test_a_token_is_read_anew_at_each_call(tmp_path: Path) -> None:
    """Kubernetes rotates them in place."""
    file = tmp_path / "token"
    identity = Identity(token=str(file), headers=(("a", "b"),))
    file.write_text("one\n")
    assert read_headers(identity) == (("a", "b"), ("authorization", "Bearer one"))
    file.write_text("two")
    assert read_headers(identity)[-1] == ("authorization", "Bearer two")


def test_a_token_may_be_a_password(tmp_path: Path) -> None:
    """As Grafana Cloud has it: a number as user, a token as password (RFC 7617's example)."""
    (tmp_path / "token").write_text("open sesame")
    identity = Identity(token=str(tmp_path / "token"), user="Aladdin")
    expected = ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    assert read_headers(identity) == (expected,)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff\xfe", b"x" * 9000])
def test_a_file_without_a_token_is_an_error(tmp_path: Path, content: bytes) -> None:
    """An empty header would be refused far away, without a reason; two lines would be two."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UserError, match="holds no token"):
        read_headers(Identity(token=str(tmp_path / "token")))


def test_missing_files_are_found_at_the_start(tmp_path: Path) -> None:
    """Not at the first call, minutes later."""
    gone = str(tmp_path / "gone")
    for identity in (
        *(Identity(ca=gone), Identity(certificate=gone), Identity(key=gone)),
        Identity(token=gone),
    ):
        with pytest.raises(UserError, match="No such file"):
            require_readable(identity)
    require_readable(Identity())


def test_the_stamp_changes_with_the_files(tmp_path: Path) -> None:
    """Also when a file is replaced by one of the same size, or goes."""
    ca = tmp_path / "ca.pem"
    identity = Identity(ca=str(ca))
    ca.write_text("one")
    first = stamp(identity)
    assert stamp(identity) == first
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(ca)
    second = stamp(identity)
    ca.unlink()
    assert len({first, second, stamp(identity)}) == 3
