from __future__ import annotations

from pathlib import Path

import pytest
from gotax.errors import UserError
from gotax.exporters.credentials import (
    Credentials,
    parse_header,
    read_file,
    read_headers,
    require_readable,
    stamp,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("X-Scope-OrgID=team-a", ("x-scope-orgid", "team-a")),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
    ],
)
def test_headers(text: str, expected: tuple[str, str]) -> None:
    """Names are in lower case, as HTTP/2 requires."""
    assert parse_header(text) == expected


@pytest.mark.parametrize("text", ["", "a", "=b", "a b=c", "a=\r\nb: c", "a=\u00e9", "\u00e9=a"])
def test_invalid_headers_are_refused(text: str) -> None:
    """A line break would start another header."""
    with pytest.raises(UserError):
        parse_header(text)


def test_a_token_is_read_again_for_each_call(tmp_path: Path) -> None:
    """Kubernetes rotates tokens in place."""
    file = tmp_path / "token"
    credentials = Credentials(token_file=str(file), headers=(("a", "b"),))
    file.write_text("one\n")
    assert read_headers(credentials) == (("a", "b"), ("authorization", "Bearer one"))
    file.write_text("two")
    assert read_headers(credentials)[-1] == ("authorization", "Bearer two")


def test_a_token_may_be_a_password(tmp_path: Path) -> None:
    """As for Grafana Cloud: a number as user, a token as password (RFC 7617's example)."""
    (tmp_path / "token").write_text("open sesame")
    credentials = Credentials(token_file=str(tmp_path / "token"), user="Aladdin")
    expected = ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    assert read_headers(credentials) == (expected,)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff\xfe", b"x" * 9000])
def test_a_file_without_a_token_is_an_error(tmp_path: Path, content: bytes) -> None:
    """An empty header would be refused by the server without a reason; so would two lines."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UserError, match="holds no token"):
        read_headers(Credentials(token_file=str(tmp_path / "token")))


def test_missing_files_are_found_at_the_start(tmp_path: Path) -> None:
    """Not only at the first call, minutes later."""
    gone = str(tmp_path / "gone")
    for credentials in (
        *(Credentials(ca=gone), Credentials(certificate=gone), Credentials(key=gone)),
        Credentials(token_file=gone),
    ):
        with pytest.raises(UserError, match="No such file"):
            require_readable(credentials)
    require_readable(Credentials())


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """It is not cut: half a bundle of authorities would refuse some servers."""
    file = tmp_path / "ca.pem"
    file.write_bytes(b"x" * (1 << 20))
    assert len(read_file(str(file))) == 1 << 20
    with file.open("ab") as more:
        more.write(b"x")
    with pytest.raises(UserError, match="larger than 1048576 bytes"):
        read_file(str(file))


def test_the_stamp_changes_with_the_files(tmp_path: Path) -> None:
    """Also when a file is deleted, or replaced by one of the same size."""
    ca = tmp_path / "ca.pem"
    credentials = Credentials(ca=str(ca))
    ca.write_text("one")
    first = stamp(credentials.tls_files)
    assert stamp(credentials.tls_files) == first
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(ca)
    second = stamp(credentials.tls_files)
    ca.unlink()
    assert len({first, second, stamp(credentials.tls_files)}) == 3
