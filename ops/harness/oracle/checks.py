"""The comparison of what was committed with what Kafka shows. Pure: values in, a verdict out."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .borders import Borders
from .hour_checks import Sealing, check_clocks, check_hours
from .objects import Listed, StoredManifest, StoredObject
from .source import UNCHANGED, Cell, Change, Row, Shape, Table, Transaction, format_lsn, micros
from .store_checks import check_objects, check_unchanged
from .topics import Partition, Position, Progress, Record
from .values import UnknownType, partition_of, same_key, same_row
from .verdict import Faults, Verdict

# What a change becomes, in the order in which it must be written.
DELETE, TOMBSTONE, CREATE, UPDATE, TRUNCATE = "d", "tombstone", "c", "u", "t"
_STEP = {DELETE: 0, TOMBSTONE: 1, CREATE: 2, UPDATE: 2, TRUNCATE: 3}

_NULL = Cell("", None)

Identity = tuple[int, int, str, str]  # transaction, ordinal, role, topic


@dataclass(slots=True)
class Places:
    """Where the records of PostgreSQL's transactions are. Ordinals begin at 0 here."""

    base: int  # the first ordinal of the agent's
    members: dict[int, dict[str | None, set[int | None]]] = field(default_factory=dict)  # transaction -> part, where it was split -> Kafka's
    spans: dict[int, dict[int, Span]] = field(default_factory=dict)  # Kafka transaction -> transaction -> what is there of it

    def add(self, number: int, ordinal: int, record: Record, inside: int | None) -> None:
        assert record.position is not None
        self.members.setdefault(number, {}).setdefault(record.split, set()).add(inside)
        if inside is not None:
            self.spans.setdefault(inside, {}).setdefault(number, Span(ordinal, ordinal, record.position.commit_lsn)).add(ordinal)


@dataclass(slots=True)
class Span:
    """The first and the last change of a PostgreSQL transaction in a Kafka transaction."""

    first: int
    last: int
    commit_lsn: int

    def add(self, ordinal: int) -> None:
        self.first, self.last = min(self.first, ordinal), max(self.last, ordinal)


@dataclass(frozen=True, slots=True)
class Expected:
    role: str
    shape: Shape
    key: Row | None
    old: Row | None
    new: Row | None
    lsn: int = 0

    def old_image(self, with_nulls: bool) -> Row:
        """The old row as it is sent: whole with FULL, else the key's columns; the others null, or left out."""
        assert self.old is not None
        # test_decoding leaves nulls out of old rows.
        known = {name: cell for name, cell in self.old.items() if self.shape.is_full or name in self.shape.key}
        names = [name for name in self.shape.columns if name in known or with_nulls or self.shape.is_full]
        return {name: known.get(name, _NULL) for name in names}


@dataclass(frozen=True, slots=True)
class Expectation:
    """How the agent under test was configured."""

    shapes: Mapping[Table, Shape]
    topic_of: Callable[[Table], str]
    envelope: str = "debezium"
    tombstones: bool = True
    epoch: int = 1


def whole(change: Change, shape: Shape) -> Row | None:
    """The new row. A value that the WAL left out of it is in the old one, where that is whole."""
    if change.new is None or change.old is None or not shape.is_full:
        return change.new
    return {name: change.old.get(name, _NULL) if cell.value is UNCHANGED else cell for name, cell in change.new.items()}


def _steps(change: Change, shape: Shape) -> list[tuple[str, Row | None, Row | None, Row | None]]:
    """(role, row that holds the key, old, new) of each record that one change of one table becomes."""
    old, new = change.old, whole(change, shape)
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
                        result[(number, ordinal, role, topic)] = Expected(role, shape, key, old, new, change.lsn)
    return result


def _kinds(transaction: Transaction, how: Expectation) -> Iterable[str]:
    """What a load must have of everything, so that a verdict says something of it."""
    for change in transaction.changes:
        yield change.kind
        for table in change.tables:
            shape = how.shapes[table]
            if change.kind == "update" and len(_steps(change, shape)) > 1:
                yield "changed key"
            if change.new is not None and any(cell.value is UNCHANGED for cell in change.new.values()):
                yield "unchanged value"
            if shape.is_full and change.old is not None:
                yield "whole old row"


def _role(value: dict[str, Any] | None, envelope: str) -> str:
    return TOMBSTONE if value is None else str(value.get("op" if envelope == "debezium" else "_op"))


def _describe(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset} at {record.position_text or 'no position'}"


def _wrong(record: Record, value: dict[str, Any] | None, expected: Expected, transaction: Transaction, how: Expectation, partitions: int,
           before: int) -> str | None:
    """What is not as PostgreSQL says, or none."""
    try:
        return _difference(record, value, expected, transaction, how, partitions, before)
    except UnknownType:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"not of the format: {error!r} in {(record.value or b'')[:200]!r}"


def _difference(record: Record, value: dict[str, Any] | None, expected: Expected, transaction: Transaction, how: Expectation,
                partitions: int, before: int) -> str | None:
    assert record.position is not None
    if record.position.epoch != how.epoch:
        return f"epoch {record.position.epoch}, the agent's is {how.epoch}"
    if record.position.commit_us != transaction.commit_us:
        return f"commit time {record.position.commit_us}, committed at {transaction.commit_us}"
    if record.replay is not None:
        return f"sluice.replay is {record.replay} on a record of the live stream"
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
        return _wrong_flat(value, expected, record.position, transaction)
    return _wrong_source(value["source"], expected, record.position, transaction, before) or _wrong_images(value, expected)


def _wrong_flat(value: dict[str, Any], expected: Expected, position: Position, transaction: Transaction) -> str | None:
    told = (value["_xid"], value["_lsn"], value["_seq"], _micros(value["_commit_ts"]))
    if told != (transaction.xid, position.commit_lsn, position.ordinal, transaction.commit_us):
        return f"_xid, _lsn, _seq, _commit_ts {told} at {position}"
    row = {name: cell for name, cell in value.items() if not name.startswith("_")}
    if expected.new is None:
        old = {} if expected.old is None else expected.old_image(with_nulls=False)
        return None if same_row(old, row) and "_unchanged" not in value else f"the row is {row}"
    new = expected.new
    unchanged = [name for name, cell in new.items() if cell.value is UNCHANGED]
    if value.get("_unchanged", []) != unchanged or ("_unchanged" in value and not unchanged):
        return f"_unchanged is {value.get('_unchanged')}, PostgreSQL left out {unchanged}"
    return None if same_row({name: cell for name, cell in new.items() if name not in unchanged}, row) else f"the row is {row}"


def _micros(text: str) -> int:
    return micros(datetime.fromisoformat(text.replace("Z", "+00:00")))


def _wrong_source(source: dict[str, Any], expected: Expected, position: Position, transaction: Transaction, before: int) -> str | None:
    """`before`: the end of the transaction before."""
    if source["txId"] != transaction.xid:
        return f"txId {source['txId']}, the transaction is {transaction.xid}"
    if (source["schema"], source["table"]) != expected.shape.table:
        return f"table {source['schema']}.{source['table']}"
    if source["lsn"] != expected.lsn:
        return f"lsn {format_lsn(source['lsn'])}, the change is at {format_lsn(expected.lsn)}"
    if source["ts_us"] != transaction.commit_us:
        return f"ts_us {source['ts_us']}, committed at {transaction.commit_us}"
    last, own = json.loads(source["sequence"])
    # What is behind the transaction before, and not ours, may have ended there too.
    if own != str(expected.lsn) or (before if last is None else int(last)) not in range(before, position.commit_lsn + 1):
        return f"sequence {source['sequence']}, the change is at {expected.lsn}, the transaction before ended at {before}"
    return None


def _wrong_images(value: dict[str, Any], expected: Expected) -> str | None:
    if expected.new is None and value["after"] is not None:
        return "after is not null"
    if expected.new is not None and not same_row(expected.new, value["after"]):
        return f"after is {json.dumps(value['after'])[:200]}, the row is {str(expected.new)[:200]}"
    if expected.old is None:
        return None if value["before"] is None else "before is not null"
    if not same_row(expected.old_image(with_nulls=True), value["before"]):
        return f"before is {json.dumps(value['before'])[:200]}, the row was {str(expected.old)[:200]}"
    return None


def judge(source: list[Transaction], kafka: Mapping[Partition, list[Record]], how: Expectation, *,
          borders: Borders | None = None, progress: list[Progress] | None = None, progress_topic: str = "",
          objects: list[StoredObject] | None = None, complete: bool = True, earlier: Iterable[Mapping[str, Listed]] = (),
          manifests: list[StoredManifest] | None = None, sealing: Sealing | None = None) -> Verdict:
    """Compares. `complete`: the sink has had time to write all; `earlier`: listings taken on the way; `sealing`: how
    hours are sealed, and judged; none: they are not."""
    verdict = Verdict(transactions=len(source), changes=sum(len(t.changes) for t in source))
    faults = verdict.kafka
    expected = expected_records(source, how)
    verdict.kinds_of_changes.update(kind for transaction in source for kind in _kinds(transaction, how))
    ends = [transaction.end_lsn for transaction in source]
    counts: dict[str, int] = {}
    for topic, _ in kafka:
        counts[topic] = counts.get(topic, 0) + 1
    # The contract does not say whether ordinals begin at 0 or 1, only that they count: the smallest seen decides.
    first = min((r.position.ordinal for records in kafka.values() for r in records if r.position), default=0)
    base = min(first, 1)

    seen: dict[Identity, int] = {}
    places = Places(base)
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
            if problem := _wrong(record, value, expected[identity], source[number], how, counts[record.topic],
                                    ends[number - 1] if number > 0 else 0):
                faults.add("wrong", f"{_describe(record)}: {problem}")
            if borders is not None:
                places.add(number, identity[1], record, borders.transaction(partition, record.offset))
    for identity in expected:
        if identity not in seen:
            number, ordinal, role, topic = identity
            faults.add("lost", f"{topic}: {role} of xid {source[number].xid} (ends at {format_lsn(ends[number])}), ordinal {ordinal}")
    if borders is not None:
        _check_borders(verdict, source, borders, places, progress, progress_topic)
    verdict.repeated = sum(len(offsets) for offsets in repeats.values())
    if objects is not None:
        check_objects(verdict, objects, kafka, repeats, complete)
        check_unchanged(verdict, {one.name: one.listed for one in [*objects, *(manifests or [])]}, earlier)
    if objects is not None and manifests is not None and sealing is not None:
        check_hours(verdict, manifests, objects, kafka, lambda record: _end(ends, record), progress or [], sealing)
        check_clocks(faults, source, progress or [], sealing)
    return verdict


def _end(ends: list[int], record: Record) -> int:
    """Where the transaction of a record ends; far behind all where the record is of none."""
    number = len(ends) if record.position is None else bisect_right(ends, record.position.commit_lsn)
    return ends[number] if number < len(ends) else 1 << 63


def _repeats(last: Record | None, record: Record, borders: Borders | None) -> bool:
    """Whether this is the last record of a transaction that its coordinator forgot, written again to end it."""
    if last is None or borders is None or last.offset not in borders.forgotten.get((last.topic, last.partition), ()):
        return False
    return (last.key, last.value, last.position_text, last.split) == (record.key, record.value, record.position_text, record.split)


def _check_borders(verdict: Verdict, source: list[Transaction], borders: Borders, places: Places, progress: list[Progress] | None,
                   progress_topic: str) -> None:
    faults = verdict.kafka
    verdict.kafka_transactions = sum(1 for transaction in borders.transactions if transaction.commit)
    verdict.forgotten = sum(len(offsets) for offsets in borders.forgotten.values())
    verdict.aborted_transactions = len(borders.transactions) - verdict.kafka_transactions
    for number, parts in places.members.items():
        xid = source[number].xid
        for part, indexes in parts.items():
            if len(indexes) > 1:
                what = "" if part is None else f"part {part} of "
                faults.add("torn", f"{what}xid {xid} lies in Kafka transactions {sorted(str(i) for i in indexes)}")
        inside = set().union(*parts.values())
        # A part is what one Kafka transaction holds: no mark may excuse a whole transaction, nor hide a second tear.
        if parts.keys() - {None} and (None not in parts or len(inside) < len(parts)):
            faults.add("torn", f"xid {xid} is marked as split in parts {[str(part) for part in parts]}, in {len(inside)} Kafka transactions")
        for index in inside:
            if index is None:
                faults.add("torn", f"xid {xid} has records outside of any decided Kafka transaction")
            elif not borders.committed(index):
                faults.add("torn", f"xid {xid} is visible though Kafka transaction {index} was aborted")
        # Each part begins behind the one before: between two changes, not inside one.
        spans = [places.spans[index][number] for index in sorted(index for index in inside if index is not None)]
        if any(later.first <= one.last for one, later in zip(spans, spans[1:])):
            faults.add("torn", f"the parts of xid {xid} hold changes {', '.join(f'{span.first}..{span.last}' for span in spans)}")
    if progress is not None:
        _check_positions(faults, source, borders, places, progress, progress_topic)


def _check_positions(faults: Faults, source: list[Transaction], borders: Borders, places: Places, progress: list[Progress],
                     progress_topic: str) -> None:
    """A position says that Kafka has all before it, and no less than the rows beside it; also one that has no rows beside it."""
    ends = [transaction.end_lsn for transaction in source]
    # The Kafka transaction with which a PostgreSQL transaction is whole; of what is in none it never is.
    whole = [max((-1 if index is None else index for part in places.members[number].values() for index in part), default=-1)
             if number in places.members else None for number in range(len(source))]
    silent = {number for number, transaction in enumerate(source) if not any(change.tables for change in transaction.changes)}
    stored: dict[int | None, Progress] = {}
    highest = done = 0  # so many PostgreSQL transactions are whole up to here
    for position in progress:
        if position.lsn < highest:
            faults.add("position", f"progress@{position.offset} goes back to {format_lsn(position.lsn)}")
        highest = max(highest, position.lsn)
        index = borders.transaction((progress_topic, position.partition), position.offset)
        stored[index] = position
        if index is None:
            if position.state == "streaming":
                faults.add("position", f"progress@{position.offset} lies in no Kafka transaction that was decided")
            continue
        while done < len(source) and (done in silent or _is_in(whole[done], index)):
            done += 1
        if done < len(source) and position.lsn >= ends[done]:
            faults.add("position", f"progress@{position.offset} says {format_lsn(position.lsn)}, and xid {source[done].xid}, which ends at"
                                   f" {format_lsn(ends[done])}, is not whole in Kafka there")
    for index, held in places.spans.items():
        number, span = max(held.items(), key=lambda item: item[0])
        found = stored.get(index)
        if found is None:
            faults.add("position", f"Kafka transaction {index} holds rows up to xid {source[number].xid} and no position")
        elif found.split_at is None and found.lsn < ends[number]:
            faults.add("position", f"Kafka transaction {index} holds rows up to {format_lsn(ends[number])}"
                                   f" and the position {format_lsn(found.lsn)}")
        elif found.split_at is not None and not _is_end_of_part(source, ends, number, span, found, places.base):
            faults.add("position", f"Kafka transaction {index} holds xid {source[number].xid} at {format_lsn(span.commit_lsn)} up to its change"
                                   f" {span.last + places.base}, and the position says change {found.ordinal} at {format_lsn(found.split_at)}")


def _is_end_of_part(source: list[Transaction], ends: list[int], number: int, span: Span, found: Progress, base: int) -> bool:
    """Whether the position of a part says how far it got: to its last row, or past messages behind it, which are not seen here."""
    if found.lsn >= ends[number]:  # the rows are whole, and the part is of a later transaction, of which it has messages alone
        number, span = bisect_right(ends, found.split_at or 0), Span(-1, -1, found.split_at or 0)
    if number == len(source):
        return True  # of nothing but messages, which not every server tells the oracle of
    kinds = [kind for change in source[number].changes for kind in ([change.kind] if change.kind == "message" else ["row"] * len(change.tables))]
    behind = kinds[span.last + 1 : found.ordinal - base + 1]
    return (found.lsn < ends[number] and found.split_at == span.commit_lsn and span.last <= found.ordinal - base < len(kinds)
            and all(kind == "message" for kind in behind))


def _is_in(whole: int | None, index: int) -> bool:
    return whole is not None and whole <= index
