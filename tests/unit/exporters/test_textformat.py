"""The text format, compared with the library's own."""

from collections.abc import Iterator
from itertools import repeat

from gotax.exporters.metrics.family import Family, Metric
from gotax.exporters.textformat import TextFormat
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest, metrics_core

NAMES = st.from_regex(r"\A[a-z_]{1,8}\Z")
VALUES = st.none() | st.floats() | st.integers(-(10**12), 10**12)
DROPPED = "dropped"


@st.composite
def families(draw: st.DrawFn) -> list[Family]:
    made = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["counter", "gauge", "summary"]))
        names = draw(st.lists(NAMES, max_size=4, unique=True))
        labels = st.tuples(*(st.text(max_size=20) for _ in names))
        most = 2 if kind == "summary" else 4
        samples = draw(st.lists(st.tuples(labels, VALUES), max_size=most))
        shown = (*names[:1], DROPPED, *names[1:])
        made.append(Family(Metric(draw(NAMES), kind, draw(st.text(max_size=20)), shown), samples))
    return made


class Fixed:
    """The contents of a registry."""

    def __init__(self, made: list[Family]) -> None:
        self.made = made

    def collect(self) -> Iterator[metrics_core.Metric]:
        for family in self.made:
            metric = family.metric
            converted = metrics_core.Metric(metric.name, metric.help, metric.kind)
            names = [name for name in metric.labels if name != DROPPED]
            is_summary = metric.kind == "summary"
            series = [f"{metric.name}{s}" for s in ("_count", "_sum")] if is_summary else []
            for name, (labels, value) in zip(
                series or repeat(metric.series), family.samples, strict=False
            ):
                if value is not None:
                    converted.add_sample(name, dict(zip(names, labels, strict=True)), value)
            yield converted


@given(st.lists(families(), min_size=1, max_size=3))
def test_every_rendering_equals_that_of_the_library(made: list[list[Family]]) -> None:
    """Also with hostile label values and a label that is dropped; the cache of one rendering does
    not affect the next."""
    text_format = TextFormat(frozenset({DROPPED}))
    for each in made:
        assert text_format.render(each) == generate_latest(Fixed(each))
