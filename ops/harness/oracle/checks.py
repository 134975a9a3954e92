"""The comparison of what was committed with what Kafka shows. Pure: values in, a verdict out."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .borders import Borders
from .objects import StoredObject
from .source import Change, Row, Shape, Table, Transaction, format_lsn
from .store_checks import check_objects
from .topics import Partition, Progress, Record
from .values import partition_of, same_key, same_row
from .verdict import Verdict

# What a change becomes, in the order in which it must be written.
DELETE, TOMBSTONE, CREATE, UPDATE, TRUNCATE = "d", "tombstone", "c", "u", "t"
_STEP = {DELETE: 0, TOMBSTONE: 1, CREATE: 2, UPDATE: 2, TRUNCATE: 3}

Identity = tuple[int, int, str, str]  # transaction, ordinal, role, topic


@dataclass(frozen=True, slots=True)
class Expected:
    role: str
    shape: Shape
    key: Row | None
    old: Row | None
    new: Row | None


@dataclass(frozen=True, slots=True)
class Expectation:
    """How the agent under test was configured."""

    shapes: Mapping[Table, Shape]
    topic_of: Callable[[Table], str]
    envelope: str = "debezium"
    tombstones: bool = True


def _steps(change: Change, shape: Shape) -> list[tuple[str, Row | None, Row | None, Row | None]]:
    """(role, row that holds the key, old, new) of each record that one change of one table becomes."""
    old, new = change.old, change.new
    match change.kind:
        case "truncate":
            return [(TRUNCATE, None, None, None)]
        case "insert":
            return [(CREATE, new, None, new)]
        case "delete":
            return [(DELETE, old, old, None), (TOMBSTONE, old, None, None)]
    if old is None or new is None or all(old[column] == new[column] for column in shape.key if column in old):
        return [(UPDATE, new, old, new)]
    return [(DELETE, old, old, None), (TOMBSTONE, old, None, None), (CREATE, new, None, new)]


def expected_records(source: list[Transaction], how: Expectation) -> dict[Identity, Expected]:
    """Every record that must be there, by transaction, ordinal (from 0), role and topic."""
    result: dict[Identity, Expected] = {}
    for number, transaction in enumerate(source):
        ordinal = -1
        for change in transaction.changes:
            if change.kind == "message":
                ordinal += 1  # counted; message topics are not judged here
            for table in change.tables:
                ordinal += 1  # of a truncate, each table counts
                shape, topic = how.shapes[table], how.topic_of(table)
                for role, key, old, new in _steps(change, shape):
                    if role != TOMBSTONE or how.tombstones:
                        result[(number, ordinal, role, topic)] = Expected(role, shape, key, old, new)
    return result


def _role(value: dict[str, Any] | None, envelope: str) -> str:
    return TOMBSTONE if value is None else str(value.get("op" if envelope == "debezium" else "_op"))


def _describe(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset} at {record.position_text or 'no position'}"


def _wrong(record: Record, value: dict[str, Any] | None, expected: Expected, transaction: Transaction, how: Expectation, partitions: int) -> str | None:
    """What is not as PostgreSQL says, or none."""
    assert record.position is not None
    if record.position.commit_us != transaction.commit_us:
        return f"commit time {record.position.commit_us}, committed at {transaction.commit_us}"
    if expected.key is None:
        if record.key is not None:
            return "a truncate with a key"
    elif not same_key(expected.shape.key, expected.key, record.key):
        return f"key {record.key!r}, the row's is {[expected.key[c].value for c in expected.shape.key]}"
    elif record.key is not None and record.partition != partition_of(record.key, partitions):
        return f"partition {record.partition} of {partitions} for key {record.key!r}"
    if record.value is None or value is None:
        return None
    if b"\n" in record.value:
        return "a line feed inside of a value"
    if how.envelope != "debezium":
        if int(value["_xid"]) != transaction.xid:
            return f"_xid {value['_xid']}, the transaction is {transaction.xid}"
        row = {name: cell for name, cell in value.items() if not name.startswith("_")}
        return None if expected.new is None or value.get("_unchanged") or same_row(expected.new, row) else f"the row is {row}"
    source = value["source"]
    if source["txId"] != transaction.xid:
        return f"txId {source['txId']}, the transaction is {transaction.xid}"
    if (source["schema"], source["table"]) != expected.shape.table:
        return f"table {source['schema']}.{source['table']}"
    if expected.new is None and value["after"] is not None:
        return "after is not null"
    if expected.new is not None and not same_row(expected.new, value["after"]):
        return f"after is {json.dumps(value['after'])[:200]}, the row is {str(expected.new)[:200]}"
    if expected.old is None:
        return None if value["before"] is None else "before is not null"
    before = value["before"]
    known = {column: cell for column, cell in expected.old.items() if column in expected.shape.key}
    if not isinstance(before, dict) or not same_row(known, {c: before.get(c) for c in known}):
        return f"before is {json.dumps(before)[:200]}"
    return None


def judge(source: list[Transaction], kafka: Mapping[Partition, list[Record]], how: Expectation, *,
          borders: Borders | None = None, progress: list[Progress] | None = None, progress_topic: str = "",
          objects: list[StoredObject] | None = None, complete: bool = True,
          earlier: Iterable[Mapping[str, str]] = ()) -> Verdict:
    """Compares. `complete`: the sink has had time to write all; `earlier`: listings (name, ETag) taken on the way."""
    verdict = Verdict(transactions=len(source), changes=sum(len(t.changes) for t in source))
    faults = verdict.kafka
    expected = expected_records(source, how)
    ends = [transaction.end_lsn for transaction in source]
    counts: dict[str, int] = {}
    for topic, _ in kafka:
        counts[topic] = counts.get(topic, 0) + 1
    # The contract does not say whether ordinals begin at 0 or 1, only that they count: the smallest seen decides.
    first = min((r.position.ordinal for records in kafka.values() for r in records if r.position), default=0)
    base = min(first, 1)

    seen: dict[Identity, int] = {}
    members: dict[int, dict[str | None, set[int | None]]] = {}  # transaction -> part, where it was split -> Kafka transactions
    contents: dict[int, int] = {}  # Kafka transaction -> last PostgreSQL transaction in it
    repeats: dict[Partition, set[int]] = {partition: set() for partition in kafka}
    for partition, records in kafka.items():
        before: tuple[int, int, int] | None = None
        for last, record in zip([None, *records], records):
            verdict.kafka_records += 1
            if record.position is None:
                faults.add("never committed", f"{_describe(record)}: not written by sluice")
                continue
            value = None if record.value is None else json.loads(record.value)
            # The commit record begins at or after the end of the transaction before, and before its own end.
            number = bisect_right(ends, record.position.commit_lsn)
            identity = (number, record.position.ordinal - base, _role(value, how.envelope), record.topic)
            if identity not in expected:
                faults.add("never committed", f"{_describe(record)}: {identity[2]}")
                continue
            if _repeats(last, record, borders):
                repeats[partition].add(record.offset)
                continue
            seen[identity] = seen.get(identity, 0) + 1
            if seen[identity] > 1:
                faults.add("twice", f"{_describe(record)}: {identity[2]}")
            place = (number, identity[1], _STEP[identity[2]])
            if before is not None and place < before:
                faults.add("out of order", f"{_describe(record)} after transaction {before[0]} ordinal {before[1]}")
            before = place
            if problem := _wrong(record, value, expected[identity], source[number], how, counts[record.topic]):
                faults.add("wrong", f"{_describe(record)}: {problem}")
            if borders is not None:
                inside = borders.transaction(partition, record.offset)
                members.setdefault(number, {}).setdefault(record.split, set()).add(inside)
                if inside is not None and record.split is None:
                    contents[inside] = max(contents.get(inside, -1), number)
    for identity in expected:
        if identity not in seen:
            number, ordinal, role, topic = identity
            faults.add("lost", f"{topic}: {role} of xid {source[number].xid} (ends at {format_lsn(ends[number])}), ordinal {ordinal}")
    if borders is not None:
        _check_borders(verdict, source, borders, members, contents, progress, progress_topic)
    verdict.repeated = sum(len(offsets) for offsets in repeats.values())
    if objects is not None:
        check_objects(verdict, objects, kafka, repeats, complete, earlier)
    return verdict


def _repeats(last: Record | None, record: Record, borders: Borders | None) -> bool:
    """Whether this is the last record of a transaction that its coordinator forgot, written again to end it."""
    if last is None or borders is None or last.offset not in borders.forgotten.get((last.topic, last.partition), ()):
        return False
    return (last.key, last.value, last.position_text, last.split) == (record.key, record.value, record.position_text, record.split)


def _check_borders(verdict: Verdict, source: list[Transaction], borders: Borders, members: dict[int, dict[str | None, set[int | None]]],
                   contents: dict[int, int], progress: list[Progress] | None, progress_topic: str) -> None:
    faults = verdict.kafka
    verdict.kafka_transactions = sum(1 for transaction in borders.transactions if transaction.commit)
    verdict.forgotten = sum(len(offsets) for offsets in borders.forgotten.values())
    verdict.aborted_transactions = len(borders.transactions) - verdict.kafka_transactions
    for number, parts in members.items():
        xid = source[number].xid
        for part, places in parts.items():
            if len(places) > 1:
                what = "" if part is None else f"part {part} of "
                faults.add("torn", f"{what}xid {xid} lies in Kafka transactions {sorted(str(i) for i in places)}")
        inside = set().union(*parts.values())
        # A part is what one Kafka transaction holds: no mark may excuse a whole transaction, nor hide a second tear.
        if parts.keys() - {None} and (None not in parts or len(inside) < len(parts)):
            faults.add("torn", f"xid {xid} is marked as split in parts {[str(part) for part in parts]}, in {len(inside)} Kafka transactions")
        for index in inside:
            if index is None:
                faults.add("torn", f"xid {xid} has records outside of any decided Kafka transaction")
            elif not borders.committed(index):
                faults.add("torn", f"xid {xid} is visible though Kafka transaction {index} was aborted")
    if progress is None:
        return
    stored: dict[int | None, Progress] = {}
    highest = 0
    for position in progress:
        if position.lsn < highest:
            faults.add("position", f"progress@{position.offset} goes back to {format_lsn(position.lsn)}")
        highest = max(highest, position.lsn)
        stored[borders.transaction((progress_topic, position.partition), position.offset)] = position
    for index, number in contents.items():
        found = stored.get(index)
        if found is None:
            faults.add("position", f"Kafka transaction {index} holds rows up to xid {source[number].xid} and no position")
        elif found.lsn < source[number].end_lsn and found.split_at is not None and number == bisect_right(
                [transaction.end_lsn for transaction in source], found.split_at):
            pass  # the first part of a transaction that was split: the position says how far it got
        elif found.lsn < source[number].end_lsn:
            faults.add("position", f"Kafka transaction {index} holds rows up to {format_lsn(source[number].end_lsn)}"
                                   f" and the position {format_lsn(found.lsn)}")
        elif number + 1 < len(source) and found.lsn >= source[number + 1].end_lsn:
            faults.add("position", f"Kafka transaction {index} has the position {format_lsn(found.lsn)} without the rows before it")
