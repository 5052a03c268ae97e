"""Which agents may stream, and how much: tokens and rate limits, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip(
    "gotax_collector.security.tokens", reason="the extra [collector] is not installed"
)

from gotax_collector.ingest.limits import MESSAGE_BYTES_MAX, Limits, RateLimiter
from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.security.tokens import TokenFileError, Tokens, parse_tokens

GOOD = "0123456789abcdef-good"
OTHER = "0123456789abcdef-other"


def refused(tokens: Tokens, authorization: str, agent: str = "node-1") -> Reason:
    with pytest.raises(RefusedError) as caught:
        tokens.check(authorization, agent)
    assert GOOD not in str(caught.value)
    return caught.value.reason


def test_a_token_is_good_until_its_time_and_for_its_agents(tmp_path: Path) -> None:
    """Expiry is looked at when the stream begins, by the collector's clock."""
    path = tmp_path / "tokens"
    path.write_text(f"# comment\n\n{GOOD} expires=2027-01-01T00:00:00Z agent=node-*\n{OTHER}\n")
    now = 1_798_761_599.0  # a second before
    tokens = Tokens(str(path), lambda: now)
    tokens.check(f"Bearer {GOOD}", "node-1")
    tokens.check(f"bearer {OTHER} ", "anyone")
    assert refused(tokens, f"Bearer {GOOD}", "db-1") is Reason.FORBIDDEN
    now += 1
    assert refused(tokens, f"Bearer {GOOD}") is Reason.EXPIRED
    cut = f"Bearer {GOOD[:-1]}"
    for wrong in ("", "Bearer", "Bearer ", f"Basic {GOOD}", GOOD, cut, "Bearer \udcff"):
        assert refused(tokens, wrong) is Reason.UNAUTHENTICATED


def test_a_token_twice_is_good_if_one_of_the_two_is(tmp_path: Path) -> None:
    """While a token is renewed, both lines stand in the file."""
    path = tmp_path / "tokens"
    path.write_text(f"{GOOD} expires=2020-01-01\n{GOOD} expires=2090-01-01\n")
    Tokens(str(path), lambda: 1.7e9).check(f"Bearer {GOOD}", "a")


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    """The new token comes in, the old one does not."""
    path = tmp_path / "tokens"
    path.write_text(GOOD)
    tokens = Tokens(str(path), lambda: 0.0)
    tokens.check(f"Bearer {GOOD}", "a")
    path.write_text(OTHER)
    tokens.check(f"Bearer {OTHER}", "a")
    assert refused(tokens, f"Bearer {GOOD}") is Reason.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no token"),
        ("# only a comment", "no token"),
        ("short", "line 1: a token has at least 16"),
        (f"{GOOD}\n{GOOD} expires=soon", "line 2: expires= takes a time"),
        (f"{GOOD} agent=", "line 1: only expires= and agent="),
        (f"{GOOD} until=2027", "line 1: only expires= and agent="),
    ],
)
def test_a_token_file_that_is_wrong_says_where(text: str, why: str) -> None:
    """And never what the token is."""
    with pytest.raises(TokenFileError, match=why) as caught:
        parse_tokens(text, "tokens")
    assert GOOD not in str(caught.value)


def test_a_token_file_that_is_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    """With it no agent could stream."""
    with pytest.raises(TokenFileError, match="cannot read"):
        Tokens(str(tmp_path / "none"), lambda: 0.0)


def test_an_allowance_is_spent_and_comes_back() -> None:
    """Two reports at once, then one every two seconds; a clock that goes back gives nothing."""
    rate_limiter = RateLimiter(Limits(reports_per_s=0.5, burst_s=4), 100.0)
    rate_limiter.take(1, 100.0)
    rate_limiter.take(1, 100.0)
    for now in (100.0, 101.9, 50.0):
        with pytest.raises(RefusedError) as caught:
            rate_limiter.take(1, now)
        assert caught.value.reason is Reason.RATE
    rate_limiter.take(1, 52.0)


def test_one_message_of_full_length_is_always_possible() -> None:
    """However small the rate_limiter of bytes is."""
    rate_limiter = RateLimiter(Limits(bytes_per_s=1, burst_s=1), 0.0)
    rate_limiter.take(MESSAGE_BYTES_MAX, 0.0)
    with pytest.raises(RefusedError):
        rate_limiter.take(2, 1.0)
