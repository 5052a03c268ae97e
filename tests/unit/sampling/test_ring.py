"""A ring buffer of the kernel, written by hand: a file with the layout of kernel/bpf/ringbuf.c."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import pytest
from gotax.sampling.kernel import Ring

PAGE = mmap.PAGESIZE
BUSY, DISCARDED = 1 << 31, 1 << 30


class Producer:
    """The kernel's side."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 4 * PAGE)
        self.position = 0

    def put(self, record: bytes, flags: int = 0) -> int:
        """The position of its header."""
        at = self.position
        padded = record + bytes(-len(record) % 8)
        self._write(at, struct.pack("=II", len(record) | flags, 0) + padded)
        self.position += 8 + len(padded)
        os.pwrite(self.fd, struct.pack("=Q", self.position), PAGE)
        return at

    def commit(self, at: int, size: int) -> None:
        self._write(at, struct.pack("=I", size))

    def _write(self, at: int, data: bytes) -> None:
        """The data's pages are mapped twice in a row; a file must contain them twice."""
        for offset, byte in enumerate(data):
            place = (at + offset) % PAGE
            for copy in (2, 3):
                os.pwrite(self.fd, bytes([byte]), copy * PAGE + place)

    def consumed(self) -> int:
        (position,) = struct.unpack("=Q", os.pread(self.fd, 8, 0))
        return int(position)


@pytest.fixture
def producer() -> Iterator[Producer]:
    found = Producer()
    yield found
    os.close(found.fd)


@pytest.fixture
def ring(producer: Producer) -> Iterator[Ring]:
    found = Ring(producer.fd, PAGE)
    yield found
    found.close()


def test_records_come_once_and_in_order_around_the_ring(producer: Producer, ring: Ring) -> None:
    """Many times around, with records that cross the end of the pages."""
    assert ring.take() == []
    for number in range(400):
        sent = [struct.pack("=QQ", number, place) for place in range(number % 7)]
        sent.append(b"x" * (1 + number % 13))
        for record in sent:
            producer.put(record)
        assert ring.take() == sent
        assert producer.consumed() == producer.position
    assert producer.position > 3 * PAGE


def test_an_unfinished_record_is_waited_for(producer: Producer, ring: Ring) -> None:
    """Also by those behind it: the ring is read in order."""
    producer.put(b"first...")
    at = producer.put(b"second..", BUSY)
    producer.put(b"third...")
    assert ring.take() == [b"first..."]
    assert ring.take() == []
    producer.commit(at, 8)
    assert ring.take() == [b"second..", b"third..."]


def test_a_discarded_record_is_skipped(producer: Producer, ring: Ring) -> None:
    producer.put(b"nothing.", DISCARDED)
    producer.put(b"something")
    assert ring.take() == [b"something"]
    assert producer.consumed() == producer.position
