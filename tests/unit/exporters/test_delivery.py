from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from gotax.exporters.backends.account import Account
from gotax.exporters.backends.containerprofile import Batch
from gotax.exporters.backends.delivery import Delivery, DeliveryError, DeliveryLimits
from gotax.exporters.backends.metrics import BACKEND_SENT, METRICS
from gotax.exporters.metrics.family import Instrumented
from gotax.window import Window

from tests.patience import PATIENCE_S

from .windows import build_window, fitting_load, mismatch_load, native_load, oversized_load

QUICK = DeliveryLimits(
    call_s=1.0,
    first_delay_s=0.01,
    last_delay_s=0.05,
    windows=4,
    backlog_bytes=1000,
    age_s=30.0,
    close_s=0.3,
)
THREE = build_window(oversized_load(), fitting_load(), mismatch_load(), native_load())
"""Three profiles: the fourth container is not Go."""


class Receiver:
    """A backend in memory. ``answers`` are errors or numbers of refused profiles; after that all
    0."""

    name = "receiver"
    max_bytes = 500

    def __init__(self, *answers: DeliveryError | int, size: int = 30) -> None:
        self.answers = list(answers)
        self.size = size
        self.taken: list[Batch] = []
        self.calls = 0
        self.timeouts: list[float] = []
        self.free = threading.Event()  # calls and encodings wait for it
        self.free.set()
        self.encoding = threading.Event()
        self.is_aborted = False
        self.profiles = 3

    def batches(self, window: Window) -> Iterator[Batch]:  # noqa: ARG002
        self.encoding.set()
        self.free.wait(PATIENCE_S)
        yield Batch(bytes([len(self.taken) % 256]) * self.size, self.profiles)

    def send(self, batch: Batch, timeout_s: float) -> int:
        self.calls += 1
        self.timeouts.append(timeout_s)
        self.free.wait(PATIENCE_S)
        if self.is_aborted:
            raise DeliveryError("cancelled", "stopped")
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, DeliveryError):
            raise answer
        self.taken.append(batch)
        return answer

    def abort(self) -> None:
        self.is_aborted = True
        self.free.set()


@pytest.fixture
def opened() -> Iterator[Callable[..., Delivery]]:
    deliveries: list[Delivery] = []

    def make(receiver: Receiver, limits: DeliveryLimits = QUICK) -> Delivery:
        deliveries.append(Delivery(receiver, limits))
        return deliveries[-1]

    yield make
    for delivery in deliveries:
        delivery.close()


def eventually(is_so: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def settled(delivery: Delivery) -> Account:
    eventually(lambda: delivery.account().waiting == 0)
    return delivery.account()


def down(reason: str = "unavailable", after_s: float = 0.0) -> DeliveryError:
    return DeliveryError(reason, "no answer", after_s=after_s)


def final(reason: str = "invalid-argument") -> DeliveryError:
    return DeliveryError(reason, "never", is_final=True)


def test_published_windows_arrive_in_order(opened: Callable[..., Delivery]) -> None:
    """Every profile counts as sent after the backend has accepted it."""
    receiver = Receiver()
    delivery = opened(receiver)
    for _ in range(3):
        delivery.publish(THREE)
        settled(delivery)
    account = settled(delivery)
    assert (account.taken, account.sent, account.sent_bytes) == (9, 9, 90)
    assert not account.dropped
    assert [batch.body[0] for batch in receiver.taken] == [0, 1, 2]


def test_a_delivery_has_metrics(opened: Callable[..., Delivery]) -> None:
    """It is an instrumented exporter, and the values are those of its account."""
    delivery = opened(Receiver())
    delivery.publish(THREE)
    settled(delivery)
    assert isinstance(delivery, Instrumented)
    families = {family.metric: list(family.samples) for family in delivery.families()}
    assert tuple(families) == METRICS
    assert families[BACKEND_SENT] == [(("receiver",), 3)]


def test_a_failed_batch_is_sent_again(opened: Callable[..., Delivery]) -> None:
    """The same batch, until it is accepted; each failed call counts under its reason."""
    receiver = Receiver(down(), down("deadline-exceeded"), down())
    delivery = opened(receiver)
    delivery.publish(THREE)
    account = settled(delivery)
    assert (account.sent, receiver.calls) == (3, 4)
    assert account.failures == {"unavailable": 2, "deadline-exceeded": 1}
    assert not account.dropped


def test_delays_grow_and_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """They double from the first to the last, and half of each is random."""
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.0

    monkeypatch.setattr("random.uniform", uniform)
    delivery = Delivery(Receiver(*[down()] * 5), replace(QUICK, last_delay_s=0.04))
    delivery.publish(THREE)
    settled(delivery)
    delivery.close()
    assert drawn == [(0.005, 0.01), (0.01, 0.02), (0.02, 0.04), (0.02, 0.04), (0.02, 0.04)]


def test_a_backend_may_ask_for_more_time(opened: Callable[..., Delivery]) -> None:
    """Retry-After is respected."""
    receiver = Receiver(down(after_s=0.3))
    delivery = opened(receiver)
    began = time.monotonic()
    delivery.publish(THREE)
    settled(delivery)
    assert time.monotonic() - began >= 0.3


def test_a_batch_that_is_refused_for_good_is_not_sent_again(
    opened: Callable[..., Delivery],
) -> None:
    """The batch counts as refused, and the next one is sent."""
    receiver = Receiver(final(), final("too-large"))
    delivery = opened(receiver)
    for _ in range(3):
        delivery.publish(THREE)
        settled(delivery)
    account = settled(delivery)
    assert account.dropped == {"refused": 3, "too-large": 3}
    assert account.failures == {"invalid-argument": 1, "too-large": 1}
    assert (account.sent, receiver.calls) == (3, 3)


def test_refused_profiles_do_not_count_as_sent(opened: Callable[..., Delivery]) -> None:
    """OTLP's partial success: two of three were refused."""
    delivery = opened(Receiver(2))
    delivery.publish(THREE)
    account = settled(delivery)
    assert (account.sent, account.dropped) == (1, {"partial": 2})


def test_the_backlog_is_bounded(opened: Callable[..., Delivery]) -> None:
    """The oldest batches are dropped, and each of their profiles is counted."""
    receiver = Receiver(*[down()] * 100_000, size=300)
    delivery = opened(receiver)
    for number in range(1, 11):
        delivery.publish(THREE)
        eventually(lambda number=number: encoded(delivery) == number)  # type: ignore[misc]
    account = delivery.account()
    assert account.backlog_bytes == 900
    assert account.waiting == 9
    assert account.dropped == {"backlog-full": 21}


def encoded(delivery: Delivery) -> int:
    """Batches made so far: waiting in the backlog, or dropped from it."""
    account = delivery.account()
    return account.backlog_bytes // 300 + account.dropped["backlog-full"] // 3


def test_batches_expire(opened: Callable[..., Delivery]) -> None:
    """A batch that waited too long is dropped."""
    delivery = opened(Receiver(*[down()] * 100_000), replace(QUICK, age_s=0.05))
    delivery.publish(THREE)
    assert settled(delivery).dropped == {"expired": 3}


def test_publishing_never_waits(opened: Callable[..., Delivery]) -> None:
    """While a call blocks, windows queue up to the limit; then the oldest is dropped."""
    receiver = Receiver()
    receiver.free.clear()
    delivery = opened(receiver)
    delivery.publish(THREE)
    receiver.encoding.wait(PATIENCE_S)  # taken by the thread, no longer in the queue
    longest = 0.0
    for _ in range(9):
        began = time.perf_counter()
        delivery.publish(THREE)
        longest = max(longest, time.perf_counter() - began)
    assert longest < 60
    account = delivery.account()
    assert (account.taken, account.waiting) == (30, 15)
    assert account.dropped == {"queue-full": 15}
    receiver.free.set()
    assert settled(delivery).sent == 15


def test_a_batch_above_the_backends_limit_is_not_sent(opened: Callable[..., Delivery]) -> None:
    """It would be refused."""
    receiver = Receiver(size=501)
    delivery = opened(receiver)
    delivery.publish(THREE)
    assert settled(delivery).dropped == {"too-large": 3}
    assert receiver.calls == 0


def test_a_lower_limit_of_the_backend_is_learnt(opened: Callable[..., Delivery]) -> None:
    """Half of the refused size, but not less than the lowest limit of any backend."""
    receiver = Receiver(final("too-large"), final("too-large"), size=300_000)
    receiver.max_bytes = 400_000
    delivery = opened(receiver, replace(QUICK, backlog_bytes=10**6))
    delivery.publish(THREE)
    settled(delivery)
    assert receiver.max_bytes == 150_000
    receiver.size = 100_000
    delivery.publish(THREE)
    settled(delivery)
    assert receiver.max_bytes == 65_536


def test_a_profile_in_two_parts_counts_twice(opened: Callable[..., Delivery]) -> None:
    """More profiles than expected: the numbers of the account still add up."""
    receiver = Receiver()
    receiver.profiles = 5
    delivery = opened(receiver)
    delivery.publish(THREE)
    eventually(lambda: delivery.account().sent == 5)
    account = delivery.account()
    assert (account.taken, account.waiting) == (5, 0)


def test_an_error_in_encoding_loses_one_window(
    opened: Callable[..., Delivery], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its position, counted, and the next window is sent."""

    class Faulty(Receiver):
        def batches(self, window: Window) -> Iterator[Batch]:
            if window.host == "bad":
                raise RuntimeError("a fault of ours")
            yield from super().batches(window)

    delivery = opened(Faulty())
    delivery.publish(replace(THREE, host="bad"))
    delivery.publish(THREE)
    account = settled(delivery)
    assert (account.sent, account.dropped) == (3, {"not-encoded": 3})
    assert "a fault of ours" in caplog.text


def test_the_last_window_is_still_sent() -> None:
    """It was published right before the end, to a backend that answers."""
    receiver = Receiver()
    delivery = Delivery(receiver, replace(QUICK, close_s=PATIENCE_S))
    delivery.publish(THREE)
    delivery.close()
    assert delivery.account().sent == 3
    assert receiver.taken
    assert receiver.is_aborted


def test_close_does_not_wait_for_a_blocked_backend() -> None:
    """The rest is counted once, and nothing is counted afterwards."""
    receiver = Receiver()
    delivery = Delivery(receiver, QUICK)
    receiver.free.clear()
    for _ in range(3):
        delivery.publish(THREE)
    began = time.monotonic()
    delivery.close()
    delivery.close()
    assert time.monotonic() - began < 60  # the call would block for ten minutes
    time.sleep(0.1)  # the thread returns from its call
    delivery.publish(THREE)
    account = delivery.account()
    assert (account.taken, account.sent, account.waiting) == (9, 0, 0)
    assert account.dropped == {"stopped": 9}


def test_close_is_quick_while_a_backend_is_down() -> None:
    """There is no last attempt after a recent failure."""
    delivery = Delivery(Receiver(*[down(after_s=600)] * 9), QUICK)
    delivery.publish(THREE)
    eventually(lambda: delivery.account().failures.total() > 0)
    began = time.monotonic()
    delivery.close()
    assert time.monotonic() - began < 60  # the next attempt would be in ten minutes
    assert delivery.account().dropped == {"stopped": 3}


def test_close_without_a_window_does_nothing() -> None:
    """No window, no thread."""
    delivery = Delivery(Receiver(), QUICK)
    delivery.close()
    assert delivery.account() == Account()
    assert not [t for t in threading.enumerate() if t.name == "receiver" and t.is_alive()]


def test_only_changes_are_logged(
    opened: Callable[..., Delivery], caplog: pytest.LogCaptureFixture
) -> None:
    """One line when a backend fails, one when it is back."""
    caplog.set_level(logging.INFO, "gotax")
    delivery = opened(Receiver(*[down()] * 5))
    delivery.publish(THREE)
    settled(delivery)
    eventually(lambda: "again" in caplog.text)
    assert [record.message for record in caplog.records] == [
        "receiver: no answer",
        "receiver takes profiles again",
    ]


@pytest.mark.parametrize("reasons", [("unavailable",), ("unavailable", "http-503")])
def test_calls_have_a_deadline(opened: Callable[..., Delivery], reasons: Sequence[str]) -> None:
    """Every call has one, also later attempts."""
    receiver = Receiver(*[down(reason) for reason in reasons])
    delivery = opened(receiver)
    delivery.publish(THREE)
    settled(delivery)
    assert receiver.timeouts == [1.0] * (len(reasons) + 1)
