"""The oracle itself: clean inputs pass, and inputs damaged in each way that the contract forbids are each found."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import hashlib
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lz4.frame
import psycopg
import pytest

from harness.audit import Auditor, Lake, NothingCommitted
from harness.oracle.borders import Borders, BordersUnclear, Prepared, read_borders
from harness.oracle.checks import Expectation, judge
from harness.oracle.hour_checks import Sealing
from harness.oracle.objects import StoredManifest, StoredObject, decode, manifest
from harness.oracle.source import UNCHANGED, Cell, Shape, Transaction, Unreadable, parse, parse_change, published
from harness.oracle.store_checks import hour_of
from harness.oracle.topics import Partition, Position, Progress, Record
from harness.oracle.values import UNAVAILABLE, UnknownType, murmur2, partition_of, same, spelled
from harness.oracle.verdict import Verdict
from harness.site import Site
from harness.summary import main as summary
from harness.workload import explained

TABLE = ("public", "t")
OTHER = ("public", "u")
SHAPES = {TABLE: Shape(TABLE, ("id",), ("id", "v")), OTHER: Shape(OTHER, ("id",), ("id", "v"))}
PARTITIONS = 2

# Five transactions over two tables, the last one in the next hour.
LINES = [
    ("0/100", 1, "BEGIN 1"),
    ("0/110", 1, "table public.t: INSERT: id[integer]:1 v[text]:'one'"),
    ("0/120", 1, "table public.u: INSERT: id[integer]:1 v[text]:null"),
    ("0/130", 1, "table public.t: INSERT: id[integer]:2 v[text]:'it''s ''two'''"),
    ("0/200", 1, "COMMIT 1 (at 2026-11-25 10:59:58.5+00)"),
    ("0/210", 2, "BEGIN 2"),
    ("0/220", 2, "table public.t: UPDATE: id[integer]:1 v[text]:'eins'"),
    ("0/230", 2, "table public.u: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:7 v[text]:'moved'"),
    ("0/300", 2, "COMMIT 2 (at 2026-11-25 10:59:58.75+00)"),
    ("0/310", 3, "BEGIN 3"),
    ("0/320", 3, "table public.t: DELETE: id[integer]:2"),
    ("0/400", 3, "COMMIT 3 (at 2026-11-25 10:59:59+00)"),
    ("0/410", 4, "BEGIN 4"),
    ("0/420", 4, "table public.t, public.unpublished: TRUNCATE: (no-flags)"),
    ("0/500", 4, "COMMIT 4 (at 2026-11-25 10:59:59.999999+00)"),
    ("0/510", 5, "BEGIN 5"),
    ("0/520", 5, "table public.t: INSERT: id[integer]:1 v[text]:'again'"),
    ("0/530", 5, "table public.u: UPDATE: id[integer]:7 v[text]:unchanged-toast-datum"),
    ("0/600", 5, "COMMIT 5 (at 2026-11-25 11:00:00+00)"),
]


@dataclass
class World:
    source: list[Transaction]
    kafka: dict[Partition, list[Record]]
    borders: Borders
    progress: list[Progress]
    objects: list[StoredObject]
    manifests: list[StoredManifest]
    sealing: Sealing = dataclasses.field(default_factory=lambda: Sealing(0, "2026-11-25T11", lambda _: False))

    def judge(self, **more: object) -> Verdict:
        how = Expectation(SHAPES, lambda table: ".".join(table))
        return judge(self.source, self.kafka, how, borders=self.borders, progress=self.progress, progress_topic="progress",
                     objects=self.objects, manifests=self.manifests, sealing=self.sealing, **more)  # type: ignore[arg-type]

    def records(self, topic: str = "public.t") -> list[Record]:
        """The fullest partition of a topic."""
        return max((records for (name, _), records in self.kafka.items() if name == topic), key=len)


def plain(row: dict[str, Cell] | None) -> dict[str, object] | None:
    def value(cell: Cell) -> object:
        if cell.value is UNCHANGED:
            return UNAVAILABLE
        return int(str(cell.value)) if cell.type == "integer" else cell.value
    return None if row is None else {name: value(cell) for name, cell in row.items()}


def stored(records: list[Record]) -> StoredObject:
    """An object as a correct sink writes it."""
    lines = [record.value for record in records if record.value is not None]
    body = b"".join(line + b"\n" for line in lines)
    first, last = records[0], records[-1]
    assert first.position is not None
    hour = hour_of(first.position.commit_us)
    folder = f"year={hour[:4]}/month={hour[5:7]}/day={hour[8:10]}/hour={hour[11:]}"
    return decode(f"{first.topic}/{folder}/{first.topic}+{first.partition}+{first.offset:010}.json", body, {
        "sluice-start": str(first.offset), "sluice-end": str(last.offset), "sluice-records": str(len(lines)),
        "sluice-tombstones": str(len(records) - len(lines)), "sluice-first-pos": first.position_text,
        "sluice-last-pos": last.position_text, "sluice-sha256": hashlib.sha256(body).hexdigest()}, "etag")


def sealed(objects: list[StoredObject], revision: int = 1, clock: str = "2026-11-25T11:00:00Z") -> StoredManifest:
    """The manifest that a correct sealer makes of an hour's objects."""
    entries: list[dict[str, Any]] = [{
        "key": o.name, "partition": o.partition, "start": int(o.meta["start"]), "end": int(o.meta["end"]), "records": int(o.meta["records"]),
        "tombstones": int(o.meta["tombstones"]), "first_pos": o.meta["first-pos"], "last_pos": o.meta["last-pos"], "size": o.size,
        "sha256": o.sha256} for o in objects]

    def order(position: str) -> tuple[int, int]:
        return int(position.split("/")[2], 16), int(position.split("/")[3])
    first, last = min((e["first_pos"] for e in entries), key=order), max((e["last_pos"] for e in entries), key=order)
    value = {"v": 1, "topic": objects[0].topic, "hour": f"{objects[0].hour}:00:00Z", "revision": revision, "clock": clock,
             "records": sum(e["records"] for e in entries), "tombstones": sum(e["tombstones"] for e in entries), "dropped": 0,
             "first_pos": first, "last_pos": last, "first_lsn": first[2:].rsplit("/", 2)[0], "last_lsn": last[2:].rsplit("/", 2)[0],
             "objects": entries}
    folder = objects[0].name.rpartition("/")[0]
    return manifest(f"{folder}/_manifest-{revision:04}.json", json.dumps(value).encode() + b"\n", f"m{revision}")


def known(transaction: Transaction) -> str:
    """What a position says of the source's clock."""
    return json.dumps({"clock": datetime.fromtimestamp(transaction.commit_us / 1e6, UTC).isoformat().replace("+00:00", "Z")})


@pytest.fixture
def world() -> World:
    """What a correct agent makes of `LINES`: a Kafka transaction each, control records between, two objects an hour."""
    source = published(parse(LINES), SHAPES)
    kafka: dict[Partition, list[Record]] = {(".".join(t), n): [] for t in SHAPES for n in range(PARTITIONS)}
    heads = dict.fromkeys(kafka, 0)
    spans: dict[Partition, list[tuple[int, int, int]]] = {partition: [] for partition in kafka}
    progress, decided = [], []
    for number, transaction in enumerate(source):
        touched: set[Partition] = set()
        last = str(source[number - 1].end_lsn) if number else None

        def put(table: tuple[str, str], ordinal: int, key: object, op: str | None, before: object, after: object) -> None:
            topic = ".".join(table)
            raw = None if key is None else json.dumps({"id": key}, separators=(",", ":")).encode()
            where = (topic, 0 if raw is None else partition_of(raw, PARTITIONS))
            value = None if op is None else json.dumps({
                "before": before, "after": after, "source": {"txId": transaction.xid, "schema": table[0], "table": table[1],
                                                             "lsn": change.lsn, "ts_us": transaction.commit_us,
                                                             "sequence": json.dumps([last, str(change.lsn)])}, "op": op}).encode()
            text = f"1/0/{transaction.end_lsn - 16:X}/{ordinal}/{transaction.commit_us}"
            kafka[where].append(Record(*where, heads[where], raw, value, Position.parse(text), text))
            spans[where].append((heads[where], heads[where], number))
            heads[where] += 1
            touched.add(where)
        for ordinal, change in enumerate(transaction.changes):
            for table in change.tables:
                old, new = plain(change.old), plain(change.new)
                if change.kind == "truncate":
                    put(table, ordinal, None, "t", None, None)
                elif old is not None:
                    old = {"id": old["id"], "v": None}  # replica identity DEFAULT
                    put(table, ordinal, old["id"], "d", old, None)
                    put(table, ordinal, old["id"], None, None, None)
                    if new is not None:
                        put(table, ordinal, new["id"], "c", None, new)
                elif new is not None:
                    put(table, ordinal, new["id"], change.kind[0].replace("i", "c"), None, new)
        for where in touched:
            heads[where] += 1  # the control record
        progress.append(Progress(0, number * 2, transaction.end_lsn, "streaming", known(transaction)))
        spans.setdefault(("progress", 0), []).append((number * 2, number * 2, number))
        decided.append(Prepared(True, number, 1, frozenset(touched | {("progress", 0)})))
    objects = []
    for records in kafka.values():
        hours: dict[str, list[Record]] = {}
        for record in records:
            assert record.position is not None
            hours.setdefault(hour_of(record.position.commit_us), []).append(record)
        for of_hour in hours.values():
            middle = max(1, len(of_hour) // 2)
            objects += [stored(part) for part in (of_hour[:middle], of_hour[middle:]) if part]
    borders = Borders(decided, {where: [base for base, _, _ in found] for where, found in spans.items()}, spans)
    tens = [[o for o in objects if o.topic == topic and o.hour == "2026-11-25T10"] for topic in ("public.t", "public.u")]
    return World(source, kafka, borders, progress, objects, [sealed(found) for found in tens])


def test_clean(world: World) -> None:
    verdict = world.judge()
    assert verdict.clean, verdict.report()
    assert verdict.changes == 9 and verdict.transactions == 5
    assert "0 lost, 0 twice" in verdict.line()


def replace_record(world: World, old: Record, **fields: object) -> None:
    records = world.kafka[(old.topic, old.partition)]
    records[records.index(old)] = dataclasses.replace(old, **fields)  # type: ignore[arg-type]


def find(world: World, role: str, topic: str = "public.t") -> Record:
    for (name, _), records in world.kafka.items():
        for record in records:
            if name == topic and (record.value is None if role == "tombstone" else record.value and json.loads(record.value)["op"] == role):
                return record
    raise LookupError(role)


def edit(record: Record, change: Callable[[dict], None]) -> bytes:
    assert record.value is not None
    value = json.loads(record.value)
    change(value)
    return json.dumps(value).encode()


def lose_row(w: World) -> None:
    w.kafka[("public.t", find(w, "c").partition)].remove(find(w, "c"))


def lose_tombstone(w: World) -> None:
    w.kafka[("public.t", find(w, "tombstone").partition)].remove(find(w, "tombstone"))


def lose_whole_transaction(w: World) -> None:
    for records in w.kafka.values():
        records[:] = [r for r in records if r.position and r.position.commit_lsn != w.source[-1].end_lsn - 16]


def send_twice(w: World) -> None:
    records = w.records()
    records.append(dataclasses.replace(records[-1], offset=records[-1].offset + 9))


def send_rolled_back(w: World) -> None:
    r = find(w, "c")
    text = f"1/0/{0x900:X}/0/{r.position.commit_us}"
    w.records().append(dataclasses.replace(r, offset=99, position=Position.parse(text), position_text=text))


def send_by_hand(w: World) -> None:
    w.records().append(dataclasses.replace(w.records()[-1], offset=99, position=None, position_text=""))


def send_unpublished_ordinal(w: World) -> None:
    r = w.records()[-1]
    p = dataclasses.replace(r.position, ordinal=9)
    w.records().append(dataclasses.replace(r, offset=99, position=p))


def swap_transactions(w: World) -> None:
    r = w.records()
    a, b = r[0], r[-1]
    r[0], r[-1] = dataclasses.replace(b, offset=a.offset), dataclasses.replace(a, offset=b.offset)


def swap_delete_and_tombstone(w: World) -> None:
    d, x = find(w, "d"), find(w, "tombstone")
    replace_record(w, d, value=None)
    replace_record(w, x, value=d.value)


def tear_over_two_transactions(w: World) -> None:
    base, last, _ = w.borders._spans[("public.u", find(w, "c", "public.u").partition)][0]
    w.borders._spans[("public.u", find(w, "c", "public.u").partition)][0] = (base, last, 1)


def mark_a_whole_one_as_split(w: World) -> None:
    replace_record(w, find(w, "d"), split="2")


def mark_a_torn_one_in_both_parts(w: World) -> None:
    tear_over_two_transactions(w)
    for records in w.kafka.values():
        records[:] = [dataclasses.replace(r, split="2") if r.position and r.position.commit_lsn == w.source[0].end_lsn - 16 else r for r in records]


def show_aborted(w: World) -> None:
    w.borders.transactions[2] = dataclasses.replace(w.borders.transactions[2], commit=False)


def outside_of_transaction(w: World) -> None:
    partition = next(p for p, spans in w.borders._spans.items() if spans and p[0] == "public.t")
    w.borders._spans[partition].pop()
    w.borders._starts[partition].pop()


def split(w: World, after: int = 1) -> list[Record]:
    """No damage: of the first PostgreSQL transaction what is behind change `after`, marked, is in a Kafka transaction of its own. Those."""
    end = w.source[0].end_lsn
    rest = [r for records in w.kafka.values() for r in records if r.position and r.position.commit_lsn == end - 16 and r.position.ordinal > after]
    w.borders.transactions.insert(1, dataclasses.replace(w.borders.transactions[0]))
    for where, spans in w.borders._spans.items():
        moved = {r.offset for r in rest if (r.topic, r.partition) == where}
        spans[:] = [(base, last, index + (index >= 1 or base in moved)) for base, last, index in spans]
    for r in rest:
        replace_record(w, r, split="2")
    w.progress.insert(1, dataclasses.replace(w.progress[0], offset=1))
    w.borders._spans[("progress", 0)].insert(1, (1, 1, 1))
    w.borders._starts[("progress", 0)].insert(1, 1)
    say_part(w, after)
    return rest


def say_part(w: World, ordinal: int, commit_lsn: int = 0x1F0, lsn: int = 0xF0) -> None:
    """What the position of the first part says."""
    raw = json.dumps({"commit_lsn": f"0/{commit_lsn:X}", "ordinal": ordinal})
    w.progress[0] = dataclasses.replace(w.progress[0], lsn=lsn, raw=raw)


def split_and(damage: Callable[[World], object], name: str) -> Callable[[World], None]:
    def split_and_damage(w: World) -> None:
        split(w)
        damage(w)
    split_and_damage.__name__ = f"split_and_{name}"
    return split_and_damage


def parts_that_overlap(w: World) -> None:
    """The second part holds a change that is before the last one of the first."""
    split(w)
    early = find(w, "c")
    assert early.position is not None and (early.position.commit_lsn, early.position.ordinal) == (0x1F0, 0)
    replace_record(w, early, split="2")
    spans = w.borders._spans[(early.topic, early.partition)]
    spans[0] = (*spans[0][:2], 1)


def message_behind_the_rows(w: World) -> None:
    """No damage: a part ends with a message, which is in no topic that is read here; the rest is the transaction's end."""
    w.source[0].changes.append(parse_change("message: transactional: 1 prefix: p, sz: 1 content:x"))
    split(w, after=2)
    say_part(w, 3)


def past_the_messages(w: World) -> None:
    message_behind_the_rows(w)
    say_part(w, 4)


def mark_as_replayed(w: World) -> None:
    replace_record(w, find(w, "u"), replay="again")


def confirm_early(w: World) -> None:
    w.progress[1] = dataclasses.replace(w.progress[1], lsn=w.source[3].end_lsn)


def confirm_late(w: World) -> None:
    w.progress[3] = dataclasses.replace(w.progress[3], lsn=w.source[2].end_lsn)


def add_position(w: World, lsn: int, decided: bool = True) -> None:
    """A Kafka transaction behind the first two that holds a position and no rows; or a position in none."""
    spans = w.borders._spans[("progress", 0)]
    w.progress.insert(2, Progress(0, 3, lsn, "streaming", "{}"))
    if decided:
        w.borders.transactions.insert(2, Prepared(True, 1, 1, frozenset({("progress", 0)})))
        for found in w.borders._spans.values():
            found[:] = [(base, last, index + (index >= 2)) for base, last, index in found]
        spans.insert(2, (3, 3, 2))
        w.borders._starts[("progress", 0)] = [base for base, _, _ in spans]


def idle_position(w: World) -> None:
    """No damage: the server has moved on, and nothing of it was ours."""
    add_position(w, w.source[1].end_lsn + 8)


def idle_position_ahead_of_its_rows(w: World) -> None:
    add_position(w, w.source[2].end_lsn)


def position_in_no_transaction(w: World) -> None:
    add_position(w, w.source[1].end_lsn + 8, decided=False)


def position_elsewhere(w: World) -> None:
    w.borders._spans[("progress", 0)][2] = (4, 4, 3)


def wrong_value(w: World) -> None:
    r = find(w, "u")
    replace_record(w, r, value=edit(r, lambda v: v["after"].update(v="other")))


def null_for_value(w: World) -> None:
    r = find(w, "u")
    replace_record(w, r, value=edit(r, lambda v: v["after"].update(v=None)))


def null_for_toast(w: World) -> None:
    r = find(w, "u", "public.u")
    replace_record(w, r, value=edit(r, lambda v: v["after"].update(v=None)))


def missing_column(w: World) -> None:
    r = find(w, "c")
    replace_record(w, r, value=edit(r, lambda v: v["after"].pop("v")))


def wrong_key(w: World) -> None:
    replace_record(w, find(w, "c"), key=b'{"id":3}')


def spaced_key(w: World) -> None:
    r = find(w, "c")
    assert r.key is not None
    replace_record(w, r, key=r.key.replace(b":", b": "))


def wrong_partition(w: World) -> None:
    r = find(w, "u")
    w.kafka[(r.topic, r.partition)].remove(r)
    w.kafka[(r.topic, 1 - r.partition)].append(dataclasses.replace(r, partition=1 - r.partition, offset=99))
    w.kafka[(r.topic, 1 - r.partition)].sort(key=lambda r: (r.position.commit_lsn, r.position.ordinal))


def wrong_transaction_id(w: World) -> None:
    r = find(w, "c")
    replace_record(w, r, value=edit(r, lambda v: v["source"].update(txId=77)))


def wrong_commit_time(w: World) -> None:
    r = find(w, "c")
    replace_record(w, r, position=dataclasses.replace(r.position, commit_us=r.position.commit_us + 1))


def in_source(**fields: object) -> Callable[[World], None]:
    def damage(w: World) -> None:
        r = find(w, "u")
        replace_record(w, r, value=edit(r, lambda v: v["source"].update(fields)))
    damage.__name__ = "wrong_" + "_".join(fields)
    return damage


def no_source(w: World) -> None:
    r = find(w, "u")
    replace_record(w, r, value=edit(r, lambda v: v.pop("source")))


def wrong_sequence(w: World) -> None:
    """It names an end that is older than the transaction before."""
    r = find(w, "u")
    lsn = json.loads(r.value or b"")["source"]["lsn"]
    in_source(sequence=json.dumps([str(w.source[0].end_lsn - 1), str(lsn)]))(w)


def wrong_before(w: World) -> None:
    """A column that replica identity DEFAULT does not have."""
    r = find(w, "d")
    replace_record(w, r, value=edit(r, lambda v: v["before"].update(v="two")))


def before_without_a_column(w: World) -> None:
    r = find(w, "d")
    replace_record(w, r, value=edit(r, lambda v: v["before"].pop("v")))


def other_epoch(w: World) -> None:
    r = find(w, "c")
    replace_record(w, r, position=dataclasses.replace(r.position, epoch=2))


KAFKA_DAMAGE = [
    (lose_row, "lost"), (lose_tombstone, "lost"), (lose_whole_transaction, "lost"), (send_twice, "twice"),
    (send_rolled_back, "never committed"), (send_by_hand, "never committed"), (send_unpublished_ordinal, "never committed"),
    (swap_transactions, "out of order"), (swap_delete_and_tombstone, "out of order"),
    (tear_over_two_transactions, "torn"), (mark_a_whole_one_as_split, "torn"), (mark_a_torn_one_in_both_parts, "torn"), (show_aborted, "torn"), (outside_of_transaction, "torn"),
    (confirm_early, "position"), (confirm_late, "position"), (position_elsewhere, "position"),
    (idle_position_ahead_of_its_rows, "position"), (position_in_no_transaction, "position"),
    (split_and(lambda w: w.progress.pop(0), "no_position"), "position"), (split_and(lambda w: w.progress.pop(1), "no_last_position"), "position"),
    (split_and(lambda w: say_part(w, 2), "change_too_far"), "position"), (split_and(lambda w: say_part(w, 0), "no_change"), "position"),
    (split_and(lambda w: say_part(w, 1, 0x1EF), "other_commit"), "position"), (split_and(lambda w: say_part(w, 1, 0x2F0), "later_commit"), "position"),
    (split_and(lambda w: say_part(w, 1, lsn=0x200), "whole_too_early"), "position"), (past_the_messages, "position"),
    (lambda w: (split(w, after=2), say_part(w, 1)), "position"), (parts_that_overlap, "torn"), (mark_as_replayed, "wrong"),
    (wrong_value, "wrong"), (null_for_value, "wrong"), (null_for_toast, "wrong"), (missing_column, "wrong"), (wrong_key, "wrong"),
    (spaced_key, "wrong"), (wrong_partition, "wrong"), (wrong_transaction_id, "wrong"), (wrong_commit_time, "wrong"),
    (in_source(lsn=1), "wrong"), (in_source(ts_us=1), "wrong"), (in_source(sequence='["1","1"]'), "wrong"), (wrong_sequence, "wrong"),
    (no_source, "wrong"), (wrong_before, "wrong"), (before_without_a_column, "wrong"), (other_epoch, "wrong"),
]


@pytest.mark.parametrize(("damage", "kind"), KAFKA_DAMAGE, ids=[d.__name__ for d, _ in KAFKA_DAMAGE])
def test_damage_in_kafka_is_found(world: World, damage: Callable[[World], None], kind: str) -> None:
    damage(world)
    verdict = world.judge()
    assert verdict.kafka[kind] > 0, verdict.report()


FULL = Shape(TABLE, ("id",), ("id", "v", "w", "x"), is_full=True)
PART = dataclasses.replace(FULL, is_full=False)
TAIL = [("0/100", 1, "BEGIN 1"), ("0/110", 1, "@"), ("0/200", 1, "COMMIT 1 (at 2026-11-25 10:59:58+00)")]


def one_record(line: str, shape: Shape, envelope: str, value: dict[str, Any]) -> Verdict:
    """A table of one change and its record."""
    source = parse([(lsn, xid, line if data == "@" else data) for lsn, xid, data in TAIL])
    flat = {"_lsn": 0x1F0, "_commit_ts": "2026-11-25T10:59:58.000000Z", "_xid": 1, "_seq": 0}
    of = {"source": {"txId": 1, "schema": "public", "table": "t", "lsn": 0x110, "ts_us": source[0].commit_us, "sequence": '[null,"272"]'}}
    text = f"1/0/1F0/0/{source[0].commit_us}"
    body = json.dumps({**(flat if envelope == "flat" else of), **value}).encode()
    records = [Record("public.t", 0, 0, b'{"id":1}', body, Position.parse(text), text)]
    how = Expectation({TABLE: shape}, lambda table: ".".join(table), envelope, tombstones=False)
    return judge(source, {("public.t", 0): records}, how)


UPDATE = "table public.t: UPDATE: id[integer]:1 v[text]:'new' w[text]:unchanged-toast-datum x[text]:null"
UPDATE_FULL = UPDATE.replace("UPDATE: ", "UPDATE: old-key: id[integer]:1 v[text]:'old' w[text]:'large' new-tuple: ")
DELETE_FULL = "table public.t: DELETE: id[integer]:1 v[text]:'old' w[text]:'large'"
DELETE_KEY = "table public.t: DELETE: id[integer]:1"
NEW = {"id": 1, "v": "new", "w": "large", "x": None}
OLD = {"id": 1, "v": "old", "w": "large", "x": None}
KEY = {"id": 1, "v": None, "w": None, "x": None}


@pytest.mark.parametrize(("line", "shape", "envelope", "right", "wrong"), [
    (UPDATE_FULL, FULL, "debezium", {"op": "u", "before": OLD, "after": NEW}, [
        {"before": KEY}, {"before": {**OLD, "v": "other"}}, {"before": {**OLD, "x": ""}}, {"before": None}, {"after": {**NEW, "w": UNAVAILABLE}}]),
    (UPDATE_FULL.replace("id[integer]:1", "id[integer]:7", 1), FULL, "debezium", {"op": "c", "before": None, "after": NEW}, [
        {"after": {**NEW, "w": UNAVAILABLE}}, {"before": OLD}]),
    (UPDATE, PART, "debezium", {"op": "u", "before": None, "after": {**NEW, "w": UNAVAILABLE}}, [
        {"before": KEY}, {"after": {**NEW, "w": None}}, {"after": NEW}]),
    (DELETE_FULL, FULL, "debezium", {"op": "d", "before": OLD, "after": None}, [{"before": KEY}, {"before": {**OLD, "w": None}}, {"after": OLD}]),
    (DELETE_KEY, PART, "debezium", {"op": "d", "before": KEY, "after": None}, [{"before": OLD}, {"before": {"id": 1}}, {"before": {**KEY, "id": 2}}]),
    (UPDATE, PART, "flat", {"id": 1, "v": "new", "x": None, "_op": "u", "_unchanged": ["w"]}, [
        {"v": "other"}, {"w": None}, {"_unchanged": []}, {"_unchanged": ["v"]}, {"_unchanged": ["w", "x"]}, {"_xid": 2}, {"_lsn": 0x200},
        {"_seq": 1}, {"_commit_ts": "2026-11-25T10:59:58.000001Z"}]),
    (UPDATE_FULL, FULL, "flat", {**NEW, "_op": "u"}, [{"w": None}, {"_unchanged": []}, {"_unchanged": ["w"]}]),
    (DELETE_FULL, FULL, "flat", {**OLD, "_op": "d"}, [{"v": None}, {"x": "y"}, {"_unchanged": []}]),
    (DELETE_KEY, PART, "flat", {"id": 1, "_op": "d"}, [{"id": 2}, {"v": None}, {"v": "old"}]),
])
def test_images_are_compared_whole(line: str, shape: Shape, envelope: str, right: dict[str, Any], wrong: list[dict[str, Any]]) -> None:
    """Of a changed key the delete is left out: it is lost, and no more."""
    lost = {"kafka: lost"} if right["op" if envelope == "debezium" else "_op"] == "c" else set()
    verdict = one_record(line, shape, envelope, right)
    assert verdict.kinds == lost, verdict.report()
    for change in wrong:
        assert one_record(line, shape, envelope, {**right, **change}).kinds == {"kafka: wrong"} | lost, change


@pytest.mark.parametrize("is_split", [split, lambda w: split(w, after=2), message_behind_the_rows], ids=["rows", "at-its-end", "message"])
def test_a_split_that_is_marked_is_none(world: World, is_split: Callable[[World], object]) -> None:
    is_split(world)
    verdict = world.judge()
    assert verdict.clean, verdict.report()


def test_an_idle_position_is_none(world: World) -> None:
    idle_position(world)
    verdict = world.judge()
    assert verdict.clean, verdict.report()


# Objects

def largest(w: World) -> int:
    return max(range(len(w.objects)), key=lambda n: len(w.objects[n].lines))


def with_lines(w: World, change: Callable[[list[bytes]], None], resign: bool = True) -> None:
    """Rewrites an object's lines, checksum right again: only the content tells."""
    at = largest(w)
    lines = list(w.objects[at].lines)
    change(lines)
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    meta = {**w.objects[at].meta, **({"sha256": digest} if resign else {})}
    w.objects[at] = dataclasses.replace(w.objects[at], lines=lines, sha256=digest, meta=meta)


def with_meta(w: World, at: int | None = None, **fields: str) -> None:
    at = largest(w) if at is None else at
    meta = {**w.objects[at].meta, **{name.replace("_", "-"): value for name, value in fields.items()}}
    w.objects[at] = dataclasses.replace(w.objects[at], meta=meta)


def remove_middle_object(w: World) -> None:
    w.objects.pop(0)


def remove_last_object(w: World) -> None:
    last = max((o for o in w.objects if o.topic == "public.t"), key=lambda o: (o.start, len(o.lines)))
    w.objects.remove(last)


def hold_twice(w: World) -> None:
    first, second = [o for o in w.objects if (o.topic, o.partition) == (w.records()[0].topic, w.records()[0].partition)][:2]
    both = [r for r in w.records() if int(first.meta["start"]) <= r.offset <= int(second.meta["end"])]
    w.objects[w.objects.index(first)] = stored(both)  # overlaps with the second


def gap_between_ranges(w: World) -> None:
    at = largest(w)
    with_meta(w, at, end=str(int(w.objects[at].meta["end"]) - 1))


def other_hour(w: World) -> None:
    at = largest(w)
    w.objects[at] = dataclasses.replace(w.objects[at], hour="2026-11-25T09")


DAMAGE = [
    (remove_middle_object, "lost"), (remove_middle_object, "gaps"), (remove_last_object, "lost"),
    (lambda w: with_lines(w, lambda lines: lines.pop()), "lost"),
    (lambda w: with_lines(w, lambda lines: lines.append(lines[0])), "twice"),
    (lambda w: with_lines(w, lambda lines: lines.append(lines[0])), "damaged"),
    (lambda w: with_lines(w, lambda lines: lines.append(b'{"never":"there"}')), "damaged"),
    (lambda w: with_lines(w, lambda lines: lines.__setitem__(0, lines[0].replace(b'"', b'" ', 1))), "damaged"),
    (lambda w: with_lines(w, lambda lines: lines.reverse()) if len(w.objects[largest(w)].lines) > 1 else None, "damaged"),
    (hold_twice, "twice"), (hold_twice, "gaps"), (gap_between_ranges, "gaps"), (other_hour, "misplaced"),
    (lambda w: with_meta(w, sha256="0" * 64), "damaged"), (lambda w: with_meta(w, records="17"), "damaged"),
    (lambda w: with_meta(w, tombstones="17"), "damaged"), (lambda w: with_meta(w, first_pos="1/0/1/0/0"), "damaged"),
    (lambda w: with_meta(w, last_pos="1/0/1/0/0"), "damaged"), (lambda w: with_meta(w, start="3"), "damaged"),
    (lambda w: with_meta(w, end=""), "damaged"),
    (lambda w: w.objects.append(dataclasses.replace(w.objects[0], topic="public.none")), "damaged"),
]


@pytest.mark.parametrize(("damage", "kind"), DAMAGE, ids=[f"{n}-{kind}" for n, (_, kind) in enumerate(DAMAGE)])
def test_damage_in_objects_is_found(world: World, damage: Callable[[World], None], kind: str) -> None:
    damage(world)
    verdict = world.judge()
    assert verdict.s3[kind] > 0, verdict.report()
    assert not verdict.kafka.counts


# Hours

def with_manifest(w: World, change: Callable[[dict], None], at: int = 0) -> None:
    value = json.loads(w.manifests[at].body)
    change(value)
    w.manifests[at] = dataclasses.replace(w.manifests[at], body=json.dumps(value).encode())


def with_entry(w: World, **fields: object) -> None:
    with_manifest(w, lambda value: value["objects"][0].update(fields))


def tens(w: World) -> list[StoredObject]:
    return [o for o in w.objects if (o.topic, o.hour) == ("public.t", "2026-11-25T10")]


def seal_without(w: World, left_out: StoredObject) -> None:
    w.manifests[0] = sealed([o for o in tens(w) if o != left_out])


def seal_early(w: World) -> None:
    """The second revision has all."""
    seal_without(w, tens(w)[-1])
    w.manifests.append(sealed(tens(w), 2))


def leave_out_in_a_later_revision(w: World) -> None:
    w.manifests.append(sealed(tens(w)[:-1], 2))


def skip_a_revision(w: World) -> None:
    w.manifests[0] = sealed(tens(w), 2)


def name_an_object_of_another_hour(w: World) -> None:
    other = next(o for o in w.objects if o.topic == "public.t" and o.hour == "2026-11-25T11")
    w.manifests[0] = dataclasses.replace(sealed([*tens(w), other]), name=w.manifests[0].name)


HOUR_DAMAGE = [
    (lambda w: w.manifests.__setitem__(0, dataclasses.replace(w.manifests[0], body=b"{")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.pop("objects")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(revision=2)), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(topic="public.u")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(hour="2026-11-25T09:00:00Z")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(records=99)), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(tombstones=99)), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(last_pos="1/0/1/0/0")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(first_lsn="0/1")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(clock="2026-11-25T10:59:59Z")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v.update(clock="2026-11-25T11:00:01Z")), "manifest"),
    (lambda w: with_manifest(w, lambda v: v["objects"].append(v["objects"][0])), "manifest"),
    *[(lambda w, field=field: with_entry(w, **{field: 99}), "manifest")
      for field in ("partition", "start", "end", "records", "tombstones", "first_pos", "last_pos", "size", "sha256")],
    (lambda w: with_entry(w, key="public.t/year=2026/month=11/day=25/hour=10/public.t+0+0000000099.json"), "manifest"),
    (name_an_object_of_another_hour, "manifest"), (leave_out_in_a_later_revision, "manifest"), (leave_out_in_a_later_revision, "unsealed"),
    (skip_a_revision, "manifest"), (lambda w: seal_without(w, tens(w)[-1]), "unsealed"), (seal_early, "sealed early"),
    (lambda w: w.manifests.pop(), "unsealed"),
]


@pytest.mark.parametrize(("damage", "kind"), HOUR_DAMAGE, ids=[f"{n}-{kind}" for n, (_, kind) in enumerate(HOUR_DAMAGE)])
def test_damage_in_manifests_is_found(world: World, damage: Callable[[World], None], kind: str) -> None:
    damage(world)
    verdict = world.judge()
    assert verdict.s3[kind] > 0, verdict.report()
    assert verdict.kinds <= {"s3: manifest", "s3: unsealed", "s3: sealed early"}, verdict.report()


def test_hours_are_counted_and_a_manifest_that_changes_is_found(world: World) -> None:
    verdict = world.judge(earlier=[{one.name: one.listed for one in world.manifests}])
    assert verdict.clean and (verdict.hours, verdict.manifests, verdict.resealed) == (1, 2, 0)
    assert "hours seen: 1, in 2 manifests" in verdict.line()
    seen = world.manifests[0].listed
    for change in ({"etag": "other"}, {"size": 1}, {"modified": "before"}):
        assert world.judge(earlier=[{world.manifests[0].name: seen._replace(**change)}]).s3["rewritten"] == 1, change


def test_rows_that_came_late_are_in_a_later_revision(world: World) -> None:
    """The source's clock had passed the hour before the last object's first row was committed: no seal was early."""
    last = tens(world)[-1]
    first = next(r for r in world.kafka[(last.topic, last.partition)] if r.offset == int(last.meta["start"]))
    assert first.position is not None
    number = next(n for n, t in enumerate(world.source) if t.end_lsn > first.position.commit_lsn)
    seal_early(world)
    world.progress[number - 1] = dataclasses.replace(world.progress[number - 1], raw=known(world.source[4]))
    world.sealing = dataclasses.replace(world.sealing, is_late=lambda _: True)
    verdict = world.judge()
    assert verdict.clean and verdict.resealed == 1, verdict.report()
    # Rows that did not go back: the position was ahead of them.
    world.sealing = dataclasses.replace(world.sealing, is_late=lambda _: False)
    assert world.judge().kinds == {"kafka: position"}


def test_an_hour_that_may_go_on_need_not_be_whole(world: World) -> None:
    world.sealing = dataclasses.replace(world.sealing, until="2026-11-25T10")
    world.manifests.clear()
    assert world.judge().clean


def test_rewritten_and_vanished_objects_are_found(world: World) -> None:
    earlier, first = {stored.name: stored.listed for stored in world.objects}, world.objects[0]
    assert world.judge(earlier=[earlier]).clean
    for change in ({"etag": "other"}, {"size": first.size + 1}, {"modified": "later"}):
        world.objects[0] = dataclasses.replace(first, **change)  # type: ignore[arg-type]
        assert world.judge(earlier=[earlier]).s3["rewritten"] == 1, change
    world.objects[0] = first
    assert world.judge(earlier=[{"gone": first.listed}]).s3["rewritten"] == 1


def test_a_file_written_again_with_the_same_bytes_is_seen(tmp_path: Path) -> None:
    """By a rename over it, and in place. Of a bucket `test_rows_arrive_everywhere` sees it."""
    lake, name = Lake(folder=tmp_path), "t/year=2026/month=11/day=25/hour=10/t+0+0000000000.json"
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{}\n")
    (path.parent / "_manifest-0001.json").write_bytes(b"{}")
    before = lake.listing(["t"])
    [found] = lake.read(["t"])
    assert before == {name: found.listed} == lake.listing(["t"]) and len(lake.listing(["t"], manifests=True)) == 2
    path.write_bytes(b"{}\n")
    in_place = lake.listing(["t"])
    other = path.with_name(".other")
    other.write_bytes(b"{}\n")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)
    assert before[name] != in_place[name] != lake.listing(["t"])[name]


def test_a_tail_that_is_not_written_yet_is_no_loss_while_running(world: World) -> None:
    remove_last_object(world)
    assert world.judge(complete=False).clean
    assert world.judge(complete=True).s3["lost"] > 0


def test_damage_is_not_seen_in_a_copy(world: World) -> None:
    other = copy.deepcopy(world)
    lose_row(other)
    assert world.judge().clean and not other.judge().clean


# Parts

def test_compressed_objects_are_decoded_and_torn_ones_seen() -> None:
    name = "t/year=2026/month=11/day=25/hour=10/t+0+0000000000.json"
    for suffix, body in ((".gz", gzip.compress(b'{"a":1}\n')), (".lz4", lz4.frame.compress(b'{"a":1}\n'))):
        found = decode(name + suffix, body, {})
        assert found.lines == [b'{"a":1}'] and found.whole and found.hour == "2026-11-25T10"
        assert not decode(name + suffix, body[:-6], {}).whole
    assert not decode(name, b'{"a":1}', {}).whole


def test_test_decoding_is_read() -> None:
    change = parse_change("""table "S p"."T""x": UPDATE: old-key: "A b"[integer]:1 new-tuple: "A b"[integer]:2 """
                          """t[text]:'a ''b'' new-tuple: [x]:1' n[numeric]:-1.50 a[integer[]]:'{1,2}' b[bit]:B'101' x[text]:null """
                          """o[timestamp with time zone]:'2026-01-01 00:00:00+00' u[text]:unchanged-toast-datum""")
    assert change.tables == (("S p", 'T"x'),) and change.old == {"A b": Cell("integer", "1")}
    assert change.new == {
        "A b": Cell("integer", "2"), "t": Cell("text", "a 'b' new-tuple: [x]:1"), "n": Cell("numeric", "-1.50"),
        "a": Cell("integer[]", "{1,2}"), "b": Cell("bit", "101"), "x": Cell("text", None),
        "o": Cell("timestamp with time zone", "2026-01-01 00:00:00+00"), "u": Cell("text", UNCHANGED)}
    assert [t.kind for t in map(parse_change, ["message: transactional: 1 prefix: p, sz: 1 content:x"])] == ["message"]
    with pytest.raises(Unreadable):
        parse_change("something else")


def test_a_message_counts_where_the_server_prints_it_before_the_begin() -> None:
    """PostgreSQL 15 does; one of nothing but messages has no begin and no commit there."""
    message = "message: transactional: 1 prefix: p, sz: 1 content:x"
    lines = [("0/11", 1, message), ("0/12", 2, message), ("0/13", 2, "BEGIN 2"), ("0/14", 2, "table public.t: INSERT: id[integer]:1"),
             ("0/15", 2, message), ("0/20", 2, "COMMIT 2 (at 2026-11-25 10:59:58+00)"), ("0/21", 3, "BEGIN 3"),
             ("0/22", 3, "message: transactional: 0 prefix: p, sz: 1 content:x"), ("0/23", 3, "table public.t: INSERT: id[integer]:2"),
             ("0/30", 3, "COMMIT 3 (at 2026-11-25 10:59:58+00)")]
    assert [(t.xid, [change.kind for change in t.changes]) for t in parse(lines)] == [(2, ["message", "insert", "message"]), (3, ["insert"])]


@pytest.mark.parametrize(("kind", "text", "found", "equal"), [
    ("integer", "1", 1, True), ("integer", "1", "1", False), ("integer", "1", True, False), ("integer", "1", 1.0, False),
    ("double precision", "0.1", 0.1, True), ("double precision", "0.1", 0.10000000000000002, False), ("double precision", "NaN", "NaN", True),
    ("numeric", "1.50", "1.50", True), ("numeric", "1.50", "1.5", False), ("numeric", "1.50", 1.5, False),
    ("date", "2026-01-01", "2026-01-01Z", True), ("boolean", "true", True, True), ("boolean", "true", 1, False),
    ("timestamp with time zone", "2026-01-01 00:00:00.12+00", "2026-01-01T00:00:00.120000Z", True),
    ("timestamp with time zone", "2026-01-01 00:00:00.12+00", "2026-01-01T00:00:00.12", False),
    ("bytea", "\\x00ff", "AP8=", True), ("text", "x", None, False), ("text", None, None, True), ("text", None, "", False),
    ("jsonb", '{"a": 1}', '{"a": 1}', True),
])
def test_values_are_compared_exactly(kind: str, text: str | None, found: object, equal: bool) -> None:
    assert same(Cell(kind, text), found) is equal


def test_unchanged_is_never_null_and_an_unknown_type_is_an_error() -> None:
    assert same(Cell("text", UNCHANGED), UNAVAILABLE) and not same(Cell("text", UNCHANGED), None)
    with pytest.raises(UnknownType):
        same(Cell("tsvector", "'a'"), "'a'")


def test_keys_are_spelled_as_connect_does() -> None:
    assert spelled({"a": 'x"\\\n\x1fé😀', "b": 1}) == b'{"a":"x\\"\\\\\\n\\u001F\xc3\xa9\\uD83D\\uDE00","b":1}'


def test_murmur2_is_the_java_clients() -> None:
    # From org.apache.kafka.common.utils.UtilsTest.
    cases = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
             b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, b"abc": 479470107}
    for data, signed in cases.items():
        assert murmur2(data) == signed & 0xFFFFFFFF


# The broker's files

def varint(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def batch(base: int, records: list[tuple[bytes, bytes]], producer: int = 1, transactional: bool = True, control: bool = False, at: int = 0) -> bytes:
    """A record batch, version 2, as it lies in a segment."""
    body = b""
    for delta, (key, value) in enumerate(records):
        inner = b"\0" + varint(0) + varint(delta) + varint(len(key)) + key + varint(len(value)) + value + varint(0)
        body += varint(len(inner)) + inner
    head = struct.pack(">ibIhiqqqhii", 0, 2, 0, transactional * 0x10 | control * 0x20, len(records) - 1, at, at, producer, 0, 0, len(records))
    return struct.pack(">qi", base, len(head) + len(body)) + head + body


def marker(base: int, commit: bool, at: int) -> bytes:
    return batch(base, [(struct.pack(">hh", 0, int(commit)), struct.pack(">hi", 0, 0))], control=True, at=at)


def state(base: int, name: str, status: int, at: int, partitions: list[tuple[str, int]]) -> bytes:
    """A record of __transaction_state: 2 is PrepareCommit, 3 PrepareAbort."""
    value = struct.pack(">hqhibi", 0, 1, 0, 60000, status, len(partitions))
    for topic, number in partitions:
        value += struct.pack(">h", len(topic)) + topic.encode() + struct.pack(">ii", 1, number)
    key = struct.pack(">hh", 0, len(name)) + name.encode()
    return batch(base, [(key, value + struct.pack(">qq", at, at))], producer=-1, transactional=False)


def broker_files(root: Path, second_commits: bool) -> Path:
    """Two Kafka transactions of one producer over two partitions, and what another wrote."""
    for name, content in {
        "t-0": batch(0, [(b"k", b"1"), (b"k", b"2")]) + marker(2, True, 100) + batch(3, [(b"k", b"3")]) + marker(4, second_commits, 200),
        "t-1": batch(0, [(b"o", b"x")], producer=7) + batch(1, [(b"k", b"4")]) + marker(2, second_commits, 201),
        "__transaction_state-3": state(0, "sluice.t", 2, 99, [("t", 0)]) + state(1, "other", 2, 120, [("t", 1)])
        + state(2, "sluice.t", 2 if second_commits else 3, 199, [("t", 0), ("t", 1)]),
    }.items():
        (root / name).mkdir(parents=True)
        (root / name / "00000000000000000000.log").write_bytes(content + b"\0\0\0")  # a batch that is being written
    return root


def test_borders_are_read_from_the_brokers_files(tmp_path: Path) -> None:
    found = read_borders([broker_files(tmp_path / "a", True)], "sluice.t", [("t", 0), ("t", 1)])
    assert [found.transaction(("t", 0), offset) for offset in range(5)] == [0, 0, None, 1, None]
    assert [found.transaction(("t", 1), offset) for offset in range(3)] == [None, 1, None]
    assert found.committed(0) and found.committed(1)
    aborted = read_borders([broker_files(tmp_path / "b", False)], "sluice.t", [("t", 0), ("t", 1)])
    assert aborted.committed(0) and not aborted.committed(1)


def test_what_a_coordinator_forgot_is_of_its_own_transaction(tmp_path: Path) -> None:
    """The first transaction has no marker in t-1; the second one's decides about both there."""
    for name, content in {
        "t-0": batch(0, [(b"k", b"1")], at=98) + marker(1, True, 100) + batch(2, [(b"k", b"2")], at=150) + marker(3, True, 200),
        "t-1": batch(0, [(b"k", b"3"), (b"k", b"4")], at=98) + batch(2, [(b"k", b"4")], at=150) + marker(3, True, 200),
        "__transaction_state-3": state(0, "sluice.t", 2, 99, [("t", 0), ("t", 1)]) + state(1, "sluice.t", 2, 199, [("t", 0), ("t", 1)]),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "00000000000000000000.log").write_bytes(content)
    found = read_borders([tmp_path], "sluice.t", [("t", 0), ("t", 1)])
    assert [found.transaction(("t", 0), offset) for offset in range(4)] == [0, None, 1, None]
    assert [found.transaction(("t", 1), offset) for offset in range(4)] == [0, 0, 1, None]
    assert found.forgotten == {("t", 0): set(), ("t", 1): {1}}


def test_a_record_repeated_to_end_a_forgotten_transaction_is_counted_as_that(world: World) -> None:
    records = world.records()
    last = records[-1]
    partition = (last.topic, last.partition)
    records.append(dataclasses.replace(last, offset=last.offset + 1))
    assert "kafka: twice" in world.judge().kinds
    world.borders.forgotten[partition] = {last.offset}
    assert world.judge().kinds == {"s3: lost"}, "the sink has seen it too: its range covers it"
    at = max((n for n, o in enumerate(world.objects) if (o.topic, o.partition) == partition), key=lambda n: world.objects[n].start)
    with_meta(world, at, end=str(last.offset + 1))
    verdict = world.judge()
    assert verdict.clean and (verdict.forgotten, verdict.repeated) == (1, 1), verdict.report()
    # Once is enough to end it.
    records.append(dataclasses.replace(last, offset=last.offset + 2))
    assert "kafka: twice" in world.judge().kinds


def test_the_longest_copy_of_a_partition_is_read(tmp_path: Path) -> None:
    whole = broker_files(tmp_path / "a", True)
    behind = broker_files(tmp_path / "b", True)
    for file in behind.glob("*/*.log"):
        file.write_bytes(file.read_bytes()[:90])
    assert read_borders([behind, whole], "sluice.t", [("t", 0)]).transaction(("t", 0), 3) == 1


def test_a_marker_that_contradicts_the_coordinator_is_an_error(tmp_path: Path) -> None:
    root = broker_files(tmp_path / "a", True)
    file = root / "t-0" / "00000000000000000000.log"
    file.write_bytes(batch(0, [(b"k", b"1")]) + marker(1, False, 100))
    with pytest.raises(BordersUnclear):
        read_borders([root], "sluice.t", [("t", 0)])


# What stands around it

def test_a_partitions_change_is_its_roots() -> None:
    lines = [("0/10", 1, "BEGIN 1"), ("0/11", 1, "table public.t_old: DELETE: id[integer]:1"), ("0/12", 1, "table public.t_new: INSERT: id[integer]:1"),
             ("0/13", 1, "table public.t_old, public.t_new, public.u: TRUNCATE: (no-flags)"), ("0/20", 1, "COMMIT 1 (at 2026-11-25 10:59:58+00)")]
    roots = {("public", name): TABLE for name in ("t_old", "t_new")}
    changes = published(parse(lines), [TABLE], roots)[0].changes
    assert [(change.kind, change.tables, change.lsn) for change in changes] == [
        ("delete", (TABLE,), 0x11), ("insert", (TABLE,), 0x12), ("truncate", (TABLE,), 0x13)]
    assert published(parse(lines), [TABLE]) == []
    assert published(parse(lines), [("public", "t_new")], roots)[0].changes[0].tables == (("public", "t_new"),)


def test_a_truth_without_a_change_or_begun_behind_an_agent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is compared with it would be right."""
    monkeypatch.setattr("harness.audit.create_slot", lambda *_: None)
    agent = SimpleNamespace(label="agent", starts=0, wait_stored=lambda *_: None)
    site = Site(SimpleNamespace(kafka=SimpleNamespace(brokers="", data_folders=[])), "t", agent, None, None, [TABLE], [agent])  # type: ignore[arg-type]
    agent.starts = 1
    with pytest.raises(RuntimeError, match="the truth begins before the load"):
        _ = site.auditor
    agent.starts = 0
    auditor = site.auditor
    agent.starts = 1
    assert site.auditor is auditor
    monkeypatch.setattr(Auditor, "committed", lambda _: [])
    for ask in (auditor.wait_kafka, auditor.verdict):
        with pytest.raises(NothingCommitted):
            ask()
    assert auditor.wait_kafka(may_be_empty=True) == []
    monkeypatch.setattr(Auditor, "committed", lambda _: parse(LINES))
    assert len(auditor.wait_kafka()) == 5


def test_kinds_of_changes_are_counted(world: World) -> None:
    assert world.judge().kinds_of_changes == {"insert": 4, "update": 3, "changed key": 1, "delete": 1, "truncate": 1, "unchanged value": 1}


@pytest.mark.parametrize(("error", "passes"), [
    (psycopg.errors.AdminShutdown(), True), (psycopg.errors.CannotConnectNow(), True), (psycopg.errors.DeadlockDetected(), True),
    (psycopg.OperationalError("connection refused"), True), (psycopg.errors.ObjectInUse(), True),
    (psycopg.errors.DiskFull(), False), (psycopg.errors.IoError(), False), (psycopg.errors.LockNotAvailable(), False),
    (psycopg.errors.TooManyConnections(), False),
])
def test_the_load_passes_over_what_a_fault_explains(error: psycopg.Error, passes: bool) -> None:
    assert explained(error, None) is passes


@pytest.mark.parametrize(("log", "line"), [
    ("3 passed in 1.0s", "3 passed, 0 failed, 0 skipped"), ("2 deselected in 0.10s", "0 passed, 1 failed, 0 skipped"),
    ("no tests ran in 0.01s", "0 passed, 1 failed, 0 skipped"),
    ("Test run with 0 tests in 0 suites passed after 0.001 seconds.", "0 passed, 1 failed, 0 skipped"),
])
def test_a_runner_that_ran_nothing_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str], log: str, line: str) -> None:
    file = tmp_path / "unit.log"
    file.write_text(log + "\n")
    summary([str(file)])
    assert capsys.readouterr().out.splitlines()[-1] == line
