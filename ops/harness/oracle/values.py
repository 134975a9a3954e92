"""Whether a JSON value, as Debezium spells it, is PostgreSQL's value. No more types than the load uses."""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime

from .source import UNCHANGED, Cell, Row

UNAVAILABLE = "__debezium_unavailable_value"
_INTEGERS = {"smallint", "integer", "bigint", "oid"}
_FLOATS = {"real", "double precision"}
_TIMESTAMPS = {"timestamp with time zone", "timestamp without time zone"}


class UnknownType(ValueError):
    """A type that the oracle does not judge: teach it here before the load uses it."""


def same(cell: Cell, found: object) -> bool:
    if cell.value is UNCHANGED:
        return found == UNAVAILABLE
    if cell.value is None or found is None:
        return cell.value is None and found is None
    text = str(cell.value)
    if cell.type in _INTEGERS:
        return type(found) is int and found == int(text)
    if cell.type in _FLOATS:
        number = float(found) if isinstance(found, int | float | str) and not isinstance(found, bool) else None
        return number is not None and (number == float(text) or math.isnan(number) and math.isnan(float(text)))
    if cell.type.startswith("numeric"):
        return found == text
    if cell.type == "boolean":
        return found is (text == "true")
    if cell.type == "date":
        return found == text + "Z"
    if cell.type in _TIMESTAMPS:
        return isinstance(found, str) and found.endswith("Z") and _moment(found) == _moment(text)
    if cell.type == "bytea":
        return found == base64.b64encode(bytes.fromhex(text.removeprefix("\\x"))).decode()
    if cell.type in {"text", "uuid", "jsonb", "json", "character varying"}:
        return found == text
    raise UnknownType(cell.type)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix("Z").removesuffix("+00").replace(" ", "T"))


def same_row(expected: Row, found: object) -> bool:
    """Every column there, none else, each with its value."""
    return (isinstance(found, dict) and list(found) == list(expected)
            and all(same(cell, found[column]) for column, cell in expected.items()))


def same_key(columns: tuple[str, ...], row: Row, key: bytes | None) -> bool:
    """The key holds the key columns in the order of the index, spelled without spaces."""
    if key is None:
        return False
    found = json.loads(key)
    return (list(found) == list(columns) and all(same(row[column], found[column]) for column in columns)
            and key == spelled(found))


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def spelled(value: object) -> bytes:
    """JSON as Connect's JsonConverter writes it: no spaces, UTF-8, `\\u001F` for controls, surrogates for what is above U+FFFF."""
    def text(plain: str) -> str:
        out = []
        for character in plain:
            code = ord(character)
            if character in _ESCAPES:
                out.append(_ESCAPES[character])
            elif code < 0x20:
                out.append(f"\\u{code:04X}")
            elif code > 0xFFFF:
                out.append(f"\\u{0xD800 + (code - 0x10000 >> 10):04X}\\u{0xDC00 + (code - 0x10000 & 0x3FF):04X}")
            else:
                out.append(character)
        return '"' + "".join(out) + '"'
    if isinstance(value, dict):
        return b"{" + b",".join(text(name).encode() + b":" + spelled(item) for name, item in value.items()) + b"}"
    if isinstance(value, str):
        return text(value).encode()
    return json.dumps(value, separators=(",", ":")).encode()


def murmur2(data: bytes) -> int:
    """The Java client's partitioner hash."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * factor & mask
        k = (k ^ (k >> 24)) * factor & mask
        h = (h * factor & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * factor & mask
    h = (h ^ (h >> 13)) * factor & mask
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions
