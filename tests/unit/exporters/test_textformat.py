"""The text format, compared with the library's own."""

from collections.abc import Iterator

from gotax.exporters.textformat import TextFormat
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric as Family

NAMES = st.from_regex(r"\A[a-z_]{1,8}\Z")
LABELS = st.dictionaries(NAMES, st.text(max_size=20), max_size=4)
VALUES = st.floats() | st.integers(-(10**12), 10**12)


@st.composite
def families(draw: st.DrawFn) -> list[Family]:
    made = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["counter", "gauge", "summary"]))
        family = Family(draw(NAMES), draw(st.text(max_size=20)), kind)
        series = f"{family.name}_total" if kind == "counter" else family.name
        for labels, value in draw(st.lists(st.tuples(LABELS, VALUES), max_size=4)):
            family.add_sample(series, labels, value)
        made.append(family)
    return made


class Fixed:
    """The contents of a registry."""

    def __init__(self, made: list[Family]) -> None:
        self.made = made

    def collect(self) -> Iterator[Family]:
        yield from self.made


@given(st.lists(families(), min_size=1, max_size=3))
def test_every_rendering_equals_that_of_the_library(made: list[list[Family]]) -> None:
    """Also with hostile label values; the cache of one rendering does not affect the next."""
    text_format = TextFormat()
    for each in made:
        assert text_format.render(each) == generate_latest(Fixed(each))
