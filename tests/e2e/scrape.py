"""One response of /metrics, with queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

CPU = "gotax_cpu_seconds_total"


@dataclass(frozen=True, slots=True)
class Scrape:
    """Every sample of one answer: name, labels, value."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    def select(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of the series with this name and at least these labels."""
        for sample, found, value in self.samples:
            if sample == name and labels.items() <= found.items():
                yield found, value

    def total(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.select(name, **labels))

    def value(self, name: str, **labels: str) -> float | None:
        """The one value; None if there is no such series. Raises ValueError if there are
        several."""
        found = [value for _, value in self.select(name, **labels)]
        if len(found) > 1:
            raise ValueError(f"{len(found)} series {name} with {labels}")
        return found[0] if found else None

    def codes(self, **labels: str) -> set[str]:
        """Of the present findings."""
        return {found["code"] for found, value in self.select("gotax_finding", **labels) if value}


def parse_scrape(text: str) -> Scrape:
    return Scrape(
        tuple(
            (sample.name, dict(sample.labels), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )
    )
