"""The truth: committed transactions in commit order, as PostgreSQL's own plugin `test_decoding` prints them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import psycopg


class _Unchanged:
    """An out-of-line value that the change did not touch and the WAL does not hold."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = _Unchanged()
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Cell:
    type: str
    value: str | None | _Unchanged


Row = dict[str, Cell]
Table = tuple[str, str]  # schema, name


@dataclass(frozen=True, slots=True)
class Change:
    """One row change, truncate or transactional message."""

    kind: str  # insert, update, delete, truncate, message
    tables: tuple[Table, ...]
    old: Row | None = None
    new: Row | None = None
    lsn: int = 0  # where its record begins, as every plugin is told


@dataclass(slots=True)
class Transaction:
    xid: int
    end_lsn: int  # one past the commit record
    commit_us: int  # microseconds since 1970
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shape:
    """A published table: its key columns in the order of the primary key, or of the index that is its replica identity."""

    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    is_full: bool = False  # replica identity FULL: an old row is whole


def parse_lsn(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def format_lsn(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def micros(when: datetime) -> int:
    """Since 1970."""
    since = when - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


# Parsing. `table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:'it''s'`

_IDENTIFIER = r'(?:"(?:[^"]|"")*"|[^\s".\[\]:,]+)'
_TABLE = re.compile(rf"({_IDENTIFIER})\.({_IDENTIFIER})")
_COLUMN = re.compile(rf"({_IDENTIFIER})\[")
_QUOTED = re.compile(r"B?'((?:[^']|'')*)'")
_BARE = re.compile(r"[^ ]+")
_COMMIT = re.compile(r"COMMIT (\d+) \(at (.+)\)$")


class Unreadable(ValueError):
    """A line of test_decoding that this parser does not know."""


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _cells(text: str, at: int, stop: str | None = None) -> tuple[Row, int]:
    row: Row = {}
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        if stop is not None and text.startswith(stop, at):
            return row, at + len(stop)
        column = _COLUMN.match(text, at)
        end = text.find("]:", column.end()) if column else -1
        if column is None or end < 0:
            raise Unreadable(text[at : at + 80])
        kind = text[column.end() : end]
        at = end + 2
        value: str | None | _Unchanged
        if quoted := _QUOTED.match(text, at):
            value, at = quoted.group(1).replace("''", "'"), quoted.end()
        elif bare := _BARE.match(text, at):
            at = bare.end()
            word = bare.group()
            value = None if word == "null" else UNCHANGED if word == "unchanged-toast-datum" else word
        else:
            raise Unreadable(text[at : at + 80])
        row[_name(column.group(1))] = Cell(kind, value)
    return row, at


def parse_change(text: str) -> Change:
    if text.startswith("message: "):
        return Change("message", ())
    if not text.startswith("table "):
        raise Unreadable(text[:80])
    at = len("table ")
    tables: list[Table] = []
    while True:
        found = _TABLE.match(text, at)
        if found is None:
            raise Unreadable(text[:80])
        tables.append((_name(found.group(1)), _name(found.group(2))))
        at = found.end()
        if not text.startswith(", ", at):
            break
        at += 2
    verb, _, rest = text[at:].removeprefix(": ").partition(":")
    where = tuple(tables)
    match verb:
        case "TRUNCATE":
            return Change("truncate", where)
        case "INSERT":
            return Change("insert", where, new=_cells(rest, 0)[0])
        case "DELETE":
            return Change("delete", where, old=None if "(no-tuple-data)" in rest else _cells(rest, 0)[0])
        case "UPDATE":
            if rest.startswith(" old-key: "):
                old, then = _cells(rest, len(" old-key: "), "new-tuple:")
                return Change("update", where, old=old, new=_cells(rest, then)[0])
            return Change("update", where, new=_cells(rest, 0)[0])
    raise Unreadable(text[:80])


def parse(lines: Iterable[tuple[str, int, str]]) -> list[Transaction]:
    """From the (lsn, xid, data) rows of a slot read with `skip-empty-xacts`, `include-timestamp`, `include-xids`."""
    transactions: list[Transaction] = []
    changes: list[Change] = []
    of = 0  # the transaction of these changes
    for lsn, xid, data in lines:
        if xid != of:
            changes, of = [], xid
        if data.startswith("BEGIN"):
            continue  # PostgreSQL 15 prints it behind a message that comes first, and never for nothing but messages
        if commit := _COMMIT.match(data):
            when = micros(datetime.fromisoformat(commit.group(2)))
            transactions.append(Transaction(int(commit.group(1)), parse_lsn(lsn), when, changes))
            changes = []
        elif data.startswith("message: transactional: 0"):
            continue  # comes at once, outside of any transaction, and is not counted
        else:
            changes.append(replace(parse_change(data), lsn=parse_lsn(lsn)))
    return transactions


def published(transactions: Iterable[Transaction], tables: Iterable[Table], roots: Mapping[Table, Table] | None = None) -> list[Transaction]:
    """What a publication of `tables` lets through: other tables' changes and emptied transactions fall away. A partition's change is
    its root's (`publish_via_partition_root`), unless the partition itself is published."""
    wanted = frozenset(tables)
    root = roots or {}
    result: list[Transaction] = []
    for transaction in transactions:
        kept: list[Change] = []
        for change in transaction.changes:
            named = (table if table in wanted else root.get(table, table) for table in change.tables)
            there = tuple(dict.fromkeys(table for table in named if table in wanted))
            if there or change.kind == "message":
                kept.append(change if there == change.tables else replace(change, tables=there))
        if kept:
            result.append(Transaction(transaction.xid, transaction.end_lsn, transaction.commit_us, kept))
    return result


# The slot

def create_slot(connection: psycopg.Connection[tuple], slot: str) -> None:
    """Before the load: what is committed from here on is the truth."""
    connection.execute("select pg_create_logical_replication_slot(%s, 'test_decoding')", (slot,))


def read_slot(connection: psycopg.Connection[tuple], slot: str) -> list[Transaction]:
    """Everything committed so far; the slot is not moved."""
    connection.execute("set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres';"
                       "set extra_float_digits = 1; set bytea_output = 'hex'; set client_encoding = 'UTF8'")
    with connection.cursor() as cursor:
        cursor.execute("select lsn::text, xid::text::bigint, data from pg_logical_slot_peek_changes(%s, null, null,"
                       " 'include-xids', '1', 'include-timestamp', '1', 'skip-empty-xacts', '1')", (slot,))
        return parse(cursor)


def shapes(connection: psycopg.Connection[tuple], tables: Iterable[Table]) -> dict[Table, Shape]:
    found: dict[Table, Shape] = {}
    for schema, name in tables:
        oid, identity = _one(connection.execute(
            "select c.oid, c.relreplident from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s",
            (schema, name)).fetchall())
        columns = connection.execute("select attname from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped order by attnum",
                                     (oid,)).fetchall()
        key = connection.execute(
            "select a.attname from pg_index i, unnest(i.indkey::int2[]) with ordinality k(num, pos) join pg_attribute a on a.attnum = k.num"
            f" where i.indrelid = %s and a.attrelid = %s and i.{'indisreplident' if identity == 'i' else 'indisprimary'} order by k.pos",
            (oid, oid)).fetchall()
        found[(schema, name)] = Shape((schema, name), tuple(row[0] for row in key), tuple(row[0] for row in columns), identity == "f")
    return found


def partitions(connection: psycopg.Connection[tuple]) -> dict[Table, Table]:
    """The root of each partition."""
    rows = connection.execute(
        "select n.nspname, c.relname, rn.nspname, r.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " join pg_class r on r.oid = pg_partition_root(c.oid) join pg_namespace rn on rn.oid = r.relnamespace"
        " where c.relispartition and c.relkind = 'r'").fetchall()
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def _one(rows: list[tuple]) -> tuple:
    if len(rows) != 1:
        raise LookupError(f"{len(rows)} rows instead of one")
    return rows[0]
