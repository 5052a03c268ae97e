"""OTLP with a real OpenTelemetry Collector."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from gotax.category import Category
from gotax.exporters.backends import KINDS, open_delivery
from gotax.exporters.backends.delivery import Delivery, DeliveryLimits
from gotax.exporters.backends.opentelemetry import OtlpBackend
from gotax.exporters.endpoint import parse_endpoint
from gotax.window import Window
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest as Request,
)

from tests.backends.collector import Collector, collecting
from tests.unit.exporters.otlpsamples import Key, resource, samples_received, samples_sent
from tests.unit.exporters.windows import (
    PARSE,
    Run,
    build_window,
    go_location,
    oversized_load,
    story_window,
)

pytestmark = pytest.mark.usefixtures("otelcol")


def delivery_to(collector: Collector, limits: DeliveryLimits | None = None) -> Delivery:
    backend = OtlpBackend(parse_endpoint(f"http://127.0.0.1:{collector.port}", 4317))
    return Delivery(backend, limits)


def settle(delivery: Delivery, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while delivery.account().waiting:
        assert time.monotonic() < end, delivery.account()
        time.sleep(0.02)


def all_samples(requests: list[Request]) -> Counter[Key]:
    return sum((samples_received(request) for request in requests), Counter())


def began(request: Request) -> int:
    return int(request.resource_profiles[0].scope_profiles[0].profiles[0].time_unix_nano)


def wide_window(stacks: int) -> Window:
    """One container with many stacks that have no frame in common."""
    load = oversized_load()
    runs = tuple(
        Run((go_location(f"main.f{n}" + "x" * 60, address=n + 1), *PARSE), Category.USER, 1 + n % 7)
        for n in range(stacks)
    )
    return build_window(replace(load, runs=runs))


def test_the_output_of_the_collector_has_the_same_samples(tmp_path: Path) -> None:
    """Container, category, process and stack with files and lines of every sample, and no other."""
    window = story_window()
    with collecting(tmp_path) as collector:
        delivery = delivery_to(collector)
        delivery.publish(window)
        settle(delivery)
        delivery.close()
        requests = collector.stop()
    assert delivery.account().sent == len(window.reports)
    assert all_samples(requests) == samples_sent(window)
    named = {
        resource(added, request.dictionary.string_table)["container.id"]: resource(
            added, request.dictionary.string_table
        )
        for request in requests
        for added in request.resource_profiles
        if "container.id" in resource(added, request.dictionary.string_table)
    }
    oversized = named[f"{1:064x}"]
    assert oversized["service.name"] == "payments-api"
    assert oversized["gotax.gomaxprocs.value"] == 192
    assert oversized["gotax.cpu.limit_cores"] == 1.0
    assert "rejected" not in collector.log()


def test_a_window_beyond_the_message_limit_is_split(tmp_path: Path) -> None:
    """The collector accepts 4 MiB by default."""
    window = wide_window(40_000)
    with collecting(tmp_path) as collector:
        delivery = delivery_to(collector)
        delivery.publish(window)
        settle(delivery)
        delivery.close()
        requests = collector.stop()
    assert len(requests) > 1
    assert all_samples(requests) == samples_sent(window)
    assert not delivery.account().dropped


def test_a_lower_limit_of_the_receiver_is_learnt(tmp_path: Path) -> None:
    """Its error message is understood: one message is lost, the next ones are smaller."""
    more = "\n        max_recv_msg_size_mib: 1"
    window = wide_window(20_000)
    with collecting(tmp_path, more=more) as collector:
        delivery = delivery_to(collector)
        for number in range(3):
            delivery.publish(replace(window, start_unix_ns=number + 1))
            settle(delivery)
        delivery.close()
        last = [request for request in collector.stop() if began(request) == 3]
    account = delivery.account()
    assert set(account.dropped) == {"too-large"}
    assert account.dropped["too-large"] == account.failures["too-large"]
    assert all_samples(last) == samples_sent(window)


def test_nothing_is_lost_when_the_collector_is_killed_and_restarted(tmp_path: Path) -> None:
    """Windows published in the meantime arrive afterwards. One accepted right before kill -9 may be
    missing: the collector had accepted it, and kept it in memory."""
    limits = DeliveryLimits(first_delay_s=0.05, last_delay_s=0.2)
    window = story_window()
    windows = [replace(window, start_unix_ns=window.start_unix_ns + n) for n in range(12)]
    collector = Collector(tmp_path)
    delivery = delivery_to(collector, limits)
    for number, one in enumerate(windows):
        if number % 4 == 0:
            collector.start()
        delivery.publish(one)
        if number % 4 == 1:
            settle(delivery)
            time.sleep(0.5)  # until it has written them
            collector.kill()
        time.sleep(0.05)
    collector.start()
    settle(delivery)
    delivery.close()
    requests = collector.stop()
    account = delivery.account()
    assert account.sent == 12 * len(window.reports)
    assert not account.dropped
    assert account.failures["unavailable"] > 0
    assert all_samples(requests) == Counter(
        {key: 12 * n for key, n in samples_sent(window).items()}
    )


def test_a_collector_without_profiles_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the feature gate; windows count as refused and the backlog stays empty."""
    with collecting(tmp_path, signal="traces") as collector:
        [kind] = [kind for kind in KINDS if kind.name == "otlp"]
        endpoint = parse_endpoint(f"http://127.0.0.1:{collector.port}", kind.port)
        delivery = open_delivery(kind, endpoint)
        delivery.publish(story_window())
        settle(delivery)
        delivery.close()
    assert delivery.account().dropped == {"refused": 6}
    assert "--feature-gates=service.profilesSupport" in caplog.text
