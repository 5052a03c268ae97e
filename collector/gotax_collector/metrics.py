"""The collector's own metrics, for Prometheus; docs/collector.md lists them."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gotax_collector.ingest.intake import Intake
from gotax_collector.ingest.receiver import Receiver
from gotax_collector.refusal import Reason
from gotax_collector.relay.limits import REASONS
from gotax_collector.relay.relay import Relay
from gotax_collector.security.certificates import Certificates

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition(Collector):
    def __init__(
        self,
        receiver: Receiver,
        intake: Intake,
        certificates: Certificates | None,
        version: str,
    ) -> None:
        self._receiver = receiver
        self._intake = intake
        self._certificates = certificates
        self._version = version
        self._relays = {"grpc": receiver.relay}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def add(self, port: str, relay: Relay) -> None:
        """Also show the connections of another port."""
        self._relays[port] = relay

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def store_failing_s(self) -> float:
        """For how many seconds the store has failed; 0 if it works."""
        since = self._intake.counters.failing_since_s
        return 0.0 if since is None else time.monotonic() - since

    def collect(self) -> Iterator[Metric]:
        yield from self._streams()
        yield from self._connections()
        yield from self._reports()
        yield from self._store()
        yield from self._own()

    def _streams(self) -> Iterator[Metric]:
        counters = self._receiver.counters
        yield _gauge("streams", "Open streams.", counters.streams)
        yield _gauge("agents", "Agents that are connected.", counters.agents)
        namesakes = self._receiver.namesakes
        yield _gauge("namesakes", "Names that more than one agent has now.", namesakes.count)
        yield _counter(
            "namesakes_found", "Times that two agents of one name were found.", namesakes.total
        )
        yield _counter("streams_opened", "Streams opened.", counters.streams_opened)
        yield _counter(
            "streams_renewed",
            "Streams ended because the dictionaries took too much memory.",
            counters.streams_renewed,
        )
        yield _gauge(
            "dictionary_bytes",
            "Estimated memory of the dictionaries of all streams.",
            self._receiver.dictionary_bytes,
        )
        if self._certificates:
            yield _counter(
                "tls_handshakes",
                "TLS handshakes started. Those without a stream were refused.",
                self._certificates.handshakes,
            )
            yield _counter(
                "certificate_reloads",
                "Times that changed certificates were reloaded.",
                self._certificates.reloads,
            )
        ended = CounterMetricFamily(
            "gotax_collector_streams_ended", "Streams ended, by how they ended.", labels=["how"]
        )
        for how in ("done", "refused", "cancelled"):
            ended.add_metric([how], counters.streams_ended[how])
        yield ended
        refused = CounterMetricFamily(
            "gotax_collector_refused", "Messages and streams refused, by reason.", labels=["reason"]
        )
        for reason in Reason:
            refused.add_metric([reason.value], counters.refused[reason])
        yield refused

    def _connections(self) -> Iterator[Metric]:
        open_ = GaugeMetricFamily(
            "gotax_collector_connections", "Open connections, by port.", labels=["port"]
        )
        accepted = CounterMetricFamily(
            "gotax_collector_connections_accepted", "Connections accepted.", labels=["port"]
        )
        unread = GaugeMetricFamily(
            "gotax_collector_unread_bytes",
            "Bytes received of messages that are not complete.",
            labels=["port"],
        )
        closed = CounterMetricFamily(
            "gotax_collector_connections_closed",
            "Connections that were closed because of a limit, by reason.",
            labels=["port", "reason"],
        )
        for port, relay in self._relays.items():
            open_.add_metric([port], relay.connections)
            accepted.add_metric([port], relay.counters.accepted)
            unread.add_metric([port], relay.unread_bytes)
            for reason in REASONS:
                closed.add_metric([port, reason], relay.counters.closed[reason])
        yield from (open_, accepted, unread, closed)

    def _reports(self) -> Iterator[Metric]:
        counters = self._receiver.counters
        yield _counter("reports", "Reports decoded.", counters.reports)
        yield _counter("containers", "Containers in those reports.", counters.containers)
        yield _counter(
            "stack_counts", "Stacks with a count in those reports.", counters.stack_counts
        )
        yield _counter("received_bytes", "Bytes of reports as sent.", counters.received_bytes)
        yield _counter("decode_seconds", "CPU time spent on decoding.", counters.decode_s)
        clocks = CounterMetricFamily(
            "gotax_collector_wrong_clocks",
            "Reports whose node has a wrong clock, by direction.",
            labels=["clock"],
        )
        for clock, reports in self._receiver.clocks.reports.items():
            clocks.add_metric([clock.value], reports)
        yield clocks
        yield _counter("acknowledged", "Reports acknowledged.", counters.acknowledged)
        yield _counter(
            "acknowledge_seconds",
            "Total time from decoding a report until it was stored.",
            counters.ack_s,
        )

    def _store(self) -> Iterator[Metric]:
        counters, intake = self._intake.counters, self._intake
        yield _gauge("waiting_reports", "Reports that wait for the store.", intake.waiting)
        yield _gauge(
            "waiting_bytes",
            "Estimated memory of the reports that wait for the store.",
            intake.waiting_bytes,
        )
        yield _counter("batches", "Batches stored.", counters.batches)
        yield _counter("insert_seconds", "Time spent on inserting batches.", counters.insert_s)
        yield _counter("store_failures", "Failed inserts of batches.", counters.failures)
        yield _counter(
            "quarantined_batches",
            "Batches of the journal that could not be used, and were set aside.",
            intake.quarantined,
        )
        yield _gauge(
            "store_failing_seconds",
            "For how long the store has failed to take a batch.",
            self.store_failing_s(),
        )

    def _own(self) -> Iterator[Metric]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield _counter(
            "own_cpu_seconds", "CPU time of the collector.", usage.ru_utime + usage.ru_stime
        )
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        yield _gauge("resident_memory_bytes", "Resident memory.", pages * resource.getpagesize())
        info = GaugeMetricFamily(
            "gotax_collector_build_info", "Always 1, with the version.", labels=["version"]
        )
        info.add_metric([self._version], 1)
        yield info


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"gotax_collector_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gotax_collector_{name}", text, value=value)
