"""The data that errors keep."""

from __future__ import annotations

import pytest
from gotax.errors import AccessError, ParseError, ReadError


@pytest.mark.parametrize("kind", [ParseError, AccessError])
def test_a_cached_refusal_is_raised_with_its_kind(kind: type[ReadError]) -> None:
    """With its reason, and without the text, which may be long."""
    again = kind("some-reason", "at 0x10").refusal.error
    assert type(again) is kind
    assert (again.reason, str(again)) == ("some-reason", "some-reason")
