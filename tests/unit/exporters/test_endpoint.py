from __future__ import annotations

import pytest
from gotax.errors import UserError
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint, parse_endpoint


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
    """The scheme decides about TLS; the port is optional."""
    assert parse_endpoint(text, 4317) == expected


def test_an_ipv6_address_is_in_brackets() -> None:
    """In the authority and in messages."""
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
def test_an_invalid_endpoint_is_an_error(text: str) -> None:
    """The message does not repeat a secret, because it would be in the log."""
    with pytest.raises(UserError) as caught:
        parse_endpoint(text, 4317)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "credentials", "text"),
    [
        ("http", Credentials(ca="ca.pem"), "without TLS"),
        ("http", Credentials(certificate="a", key="b"), "without TLS"),
        ("https", Credentials(certificate="a"), "go together"),
        ("https", Credentials(key="a"), "go together"),
        ("https", Credentials(user="a"), "needs a token file"),
    ],
)
def test_contradicting_flags_are_refused(scheme: str, credentials: Credentials, text: str) -> None:
    """They are not ignored: the user wants a secure connection."""
    with pytest.raises(UserError, match=text):
        parse_endpoint(f"{scheme}://otel", 4317, credentials)
