"""Which Kafka transaction each record belongs to, read from the broker's own files: log segments and the
transaction state log. (`kafka-dump-log.sh` prints the same; a JVM a call would cost seconds.)

A partition's segment shows batches with a producer id, and control batches that end that producer's transaction there.
That gives borders within one partition. That the pieces of several partitions are one transaction is said by
`__transaction_state`: each transaction writes there, once, a record PrepareCommit or PrepareAbort with all its
partitions and its time, before any of its markers is written, and the next one only after all of them.

All but one: a coordinator that is killed in between, or finds a partition without a leader, ends a transaction without its
marker there (Kafka 4.3), and the producer's next marker in that partition ends both. What was written before the first of the
two was decided belongs to it; `forgotten` says where that was so.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .topics import Partition

_HEADER = struct.Struct(">qiibIhiqqqhii")  # base offset .. record count: 61 bytes
_PREPARED = {2: True, 3: False}  # TransactionState: PrepareCommit, PrepareAbort


class BordersUnclear(RuntimeError):
    """Markers and transactions that do not fit each other."""


@dataclass(frozen=True, slots=True)
class Batch:
    base: int
    last: int
    producer: int
    epoch: int
    transactional: bool
    control: bool
    compression: int
    max_timestamp: int
    body: bytes  # the records, compressed as they are; kept for control batches and the state log alone


@dataclass(frozen=True, slots=True)
class Prepared:
    """One Kafka transaction that was decided."""

    commit: bool
    at_ms: int
    producer: int
    partitions: frozenset[Partition]


def read_batches(folder: Path, keep_bodies: bool = False) -> Iterator[Batch]:
    """The batches of a partition's folder, oldest first. A batch that is being written ends the reading."""
    for segment in sorted(folder.glob("*.log")):
        data = segment.read_bytes()
        at = 0
        while at + _HEADER.size <= len(data):
            (base, length, _, magic, _, attributes, last_delta, _, max_timestamp, producer, epoch, _, _) = _HEADER.unpack_from(data, at)
            end = at + 12 + length
            if length <= 0 or magic != 2 or end > len(data):
                break
            control = bool(attributes & 0x20)
            yield Batch(base, base + last_delta, producer, epoch, bool(attributes & 0x10), control, attributes & 7, max_timestamp,
                        data[at + _HEADER.size : end] if control or keep_bodies else b"")
            at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), at
        shift += 7


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def _records(body: bytes) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Key and value of each record of an uncompressed batch."""
    at = 0
    while at < len(body):
        length, at = _varint(body, at)
        end = at + length
        at += 1
        _, at = _varint(body, at)
        _, at = _varint(body, at)
        size, at = _varint(body, at)
        key = None if size < 0 else body[at : at + size]
        at += max(size, 0)
        size, at = _varint(body, at)
        yield key, None if size < 0 else body[at : at + size]
        at = end


def is_commit(batch: Batch) -> bool:
    """A control batch's one record has the key (version int16, type int16): 0 abort, 1 commit."""
    for key, _ in _records(batch.body):
        if key is not None and len(key) >= 4:
            return struct.unpack_from(">h", key, 2)[0] == 1
    raise BordersUnclear(f"a control batch without a marker at offset {batch.base}")


def _state(value: bytes) -> tuple[int, int, int, list[Partition]]:
    """(status, time in ms, producer id, partitions) of a TransactionLogValue, version 0 or 1."""
    version = struct.unpack_from(">h", value)[0]
    producer, _, _, status = struct.unpack_from(">qhib", value, 2)
    at = 17
    partitions: list[Partition] = []
    if version == 0:
        topics = struct.unpack_from(">i", value, at)[0]
        at += 4
    else:
        topics, at = _unsigned(value, at)
        topics -= 1
    for _ in range(max(topics, 0)):
        if version == 0:
            size = struct.unpack_from(">h", value, at)[0]
            at += 2
        else:
            size, at = _unsigned(value, at)
            size -= 1
        topic = value[at : at + size].decode()
        at += size
        if version == 0:
            count = struct.unpack_from(">i", value, at)[0]
            at += 4
        else:
            count, at = _unsigned(value, at)
            count -= 1
        numbers = struct.unpack_from(f">{count}i", value, at)
        at += 4 * count
        if version > 0:
            at += 1  # no tagged fields in a topic
        partitions += [(topic, number) for number in numbers]
    return status, struct.unpack_from(">q", value, at)[0], producer, partitions


def _states(node: Path, transactional_id: str) -> Iterator[tuple[int, int, int, list[Partition]]]:
    """Every state of one transactional.id in a node's copy of the log, in order."""
    for folder in sorted(node.glob("__transaction_state-*")):
        for batch in read_batches(folder, keep_bodies=True):
            if batch.control:
                continue
            if batch.compression:
                raise BordersUnclear("the transaction state log is compressed")
            for key, value in _records(batch.body):
                if key is None or value is None or struct.unpack_from(">h", key)[0] != 0:
                    continue
                size = struct.unpack_from(">h", key, 2)[0]
                if key[4 : 4 + size].decode() == transactional_id:
                    yield _state(value)


def read_transactions(data: Iterable[Path], transactional_id: str) -> list[Prepared]:
    """Every decided transaction of one transactional.id, in order. With several nodes any one's copy serves."""
    best: list[Prepared] = []
    for node in data:
        found = [Prepared(_PREPARED[status], at_ms, producer, frozenset(partitions))
                 for status, at_ms, producer, partitions in _states(node, transactional_id) if status in _PREPARED]
        if len(found) > len(best):
            best = found
    return best


def is_ending(node: Path, transactional_id: str) -> bool:
    """Whether its last transaction is decided, and markers of it are still to be written."""
    statuses = [status for status, _, _, _ in _states(node, transactional_id)]
    return bool(statuses) and statuses[-1] in _PREPARED


@dataclass(slots=True)
class Borders:
    """The transaction of an offset: an index into the list of decided ones."""

    transactions: list[Prepared]
    _starts: dict[Partition, list[int]]
    _spans: dict[Partition, list[tuple[int, int, int]]]  # base, last, index
    # The last offset, in each partition, of what was there when its transaction ended without a marker.
    forgotten: dict[Partition, set[int]] = field(default_factory=dict)

    def transaction(self, partition: Partition, offset: int) -> int | None:
        at = bisect_right(self._starts.get(partition, []), offset) - 1
        if at < 0:
            return None
        base, last, index = self._spans[partition][at]
        return index if base <= offset <= last else None

    def committed(self, index: int) -> bool:
        return self.transactions[index].commit


@dataclass(slots=True)
class Located:
    """Spans (base, last, transaction) of one partition's transactional batches, and the last offsets of forgotten ones."""

    spans: list[tuple[int, int, int]] = field(default_factory=list)
    forgotten: set[int] = field(default_factory=set)


def locate(partition: Partition, batches: Iterable[Batch], decided: list[Prepared]) -> Located:
    producers = {prepared.producer for prepared in decided}
    candidates = [(index, prepared) for index, prepared in enumerate(decided) if partition in prepared.partitions]
    times = [prepared.at_ms for _, prepared in candidates]
    found = Located()
    waiting: list[Batch] = []
    first = 0  # the first candidate that may still have a marker here
    for batch in batches:
        if not batch.transactional or batch.producer not in producers:
            continue
        if not batch.control:
            waiting.append(batch)
            continue
        at = bisect_right(times, batch.max_timestamp) - 1
        if at < 0:
            raise BordersUnclear(f"{partition}: a marker at offset {batch.base} older than any transaction")
        index, prepared = candidates[at]
        if prepared.commit != is_commit(batch):
            raise BordersUnclear(f"{partition}: the marker at offset {batch.base} says {'commit' if is_commit(batch) else 'abort'},"
                                 f" transaction {index} was {'committed' if prepared.commit else 'aborted'}")
        for one in waiting:
            # A record is younger than the decision before its own transaction, so one that is not is of an earlier one.
            own = min(at, max(first, bisect_left(times, one.max_timestamp)))
            found.spans.append((one.base, one.last, candidates[own][0]))
            if own < at:
                found.forgotten.add(one.last)
        waiting = []
        first = at + 1
    return found


def read_borders(data: list[Path], transactional_id: str, partitions: Iterable[Partition]) -> Borders:
    """From the `log.dirs` of all brokers; of a replicated partition the longest copy is read."""
    decided = read_transactions(data, transactional_id)
    starts: dict[Partition, list[int]] = {}
    spans: dict[Partition, list[tuple[int, int, int]]] = {}
    forgotten: dict[Partition, set[int]] = {}
    for topic, number in partitions:
        copies = [node / f"{topic}-{number}" for node in data if (node / f"{topic}-{number}").is_dir()]
        if not copies:
            continue
        longest = max(copies, key=lambda folder: sum(file.stat().st_size for file in folder.glob("*.log")))
        located = locate((topic, number), read_batches(longest), decided)
        spans[(topic, number)], forgotten[(topic, number)] = located.spans, located.forgotten
        starts[(topic, number)] = [base for base, _, _ in spans[(topic, number)]]
    return Borders(decided, starts, spans, forgotten)
