"""The comparison of the manifests with the objects, and with what was committed when (C6). Pure, like `checks`."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .objects import StoredManifest, StoredObject
from .source import Transaction, format_lsn, micros
from .store_checks import hour_of
from .topics import Partition, Progress, Record
from .verdict import Faults, Verdict

_HOUR = 3_600_000_000
Hour = tuple[str, str]  # topic, hour


@dataclass(frozen=True, slots=True)
class Sealing:
    """How hours are sealed by the agent under test, and what is asked of them."""

    grace_us: int  # how long an hour is left open, by the source's clock
    until: str  # every hour before this one must be sealed, with all that it has
    is_late: Callable[[int], bool]  # of a commit time: it went back on purpose


def end_of(hour: str) -> int:
    """Microseconds since 1970."""
    return moment(f"{hour}:00:00Z") + _HOUR


def moment(text: str) -> int:
    """Microseconds since 1970 of `2026-11-25T10:59:58.5Z`."""
    return micros(datetime.fromisoformat(text.replace("Z", "+00:00")))


def check_hours(verdict: Verdict, manifests: Iterable[StoredManifest], objects: Iterable[StoredObject],
                kafka: Mapping[Partition, list[Record]], ends: Callable[[Record], int], progress: list[Progress], how: Sealing) -> None:
    """`ends`: where a record's PostgreSQL transaction ends."""
    judge = _Judge(verdict, {stored.name: stored for stored in objects}, _by_hour(kafka), _clocks(progress), ends, how)
    by_hour: dict[Hour, list[StoredManifest]] = {}
    for one in manifests:
        by_hour.setdefault((one.topic, one.hour), []).append(one)
    for hour, found in by_hour.items():
        judge.hour(hour, sorted(found, key=lambda one: one.revision))
    judge.unsealed(by_hour.keys())
    verdict.hours = len({hour for _, hour in by_hour})
    verdict.manifests = sum(len(found) for found in by_hour.values())
    verdict.resealed = sum(len(found) - 1 for found in by_hour.values())


def _by_hour(kafka: Mapping[Partition, list[Record]]) -> dict[Hour, list[Record]]:
    found: dict[Hour, list[Record]] = {}
    for records in kafka.values():
        for record in records:
            if record.position is not None:
                found.setdefault((record.topic, hour_of(record.position.commit_us)), []).append(record)
    return found


def _clocks(progress: list[Progress]) -> list[tuple[int, int]]:
    """(clock, LSN) of the positions with which the source's clock went on in Kafka."""
    found: list[tuple[int, int]] = []
    for position in progress:
        if position.clock and (not found or position.clock > found[-1][0]):
            found.append((position.clock, position.lsn))
    return found


def check_clocks(faults: Faults, source: list[Transaction], progress: list[Progress], how: Sealing) -> None:
    """A position that knows the source's clock has all that was committed by then, but for what was a moment late."""
    earliest = [0] * len(source)  # commit time on time, of each transaction and those behind it
    least = 1 << 62
    for number in range(len(source) - 1, -1, -1):
        if not how.is_late(source[number].commit_us):
            least = min(least, source[number].commit_us)
        earliest[number] = least
    ends = [transaction.end_lsn for transaction in source]
    for position in progress:
        behind = bisect_right(ends, position.lsn)
        if behind < len(source) and position.clock - how.grace_us > earliest[behind]:
            faults.add("position", f"progress@{position.offset} at {format_lsn(position.lsn)} knows of the source's clock up to {position.clock},"
                                   f" and something behind it was committed at {earliest[behind]}")


class _Judge:
    def __init__(self, verdict: Verdict, objects: dict[str, StoredObject], records: dict[Hour, list[Record]],
                 clocks: list[tuple[int, int]], ends: Callable[[Record], int], how: Sealing) -> None:
        self.verdict = verdict
        self.faults = verdict.s3
        self.objects = objects
        self.records = records
        self.clocks = clocks
        self.ends = ends
        self.how = how
        self.of_hour: dict[Hour, set[str]] = {}
        for stored in objects.values():
            self.of_hour.setdefault((stored.topic, stored.hour), set()).add(stored.name)

    def hour(self, hour: Hour, revisions: list[StoredManifest]) -> None:
        """All the manifests of one hour of a topic, in order."""
        named: set[str] = set()
        for number, one in enumerate(revisions, 1):
            if one.revision != number:
                self.faults.add("manifest", f"{one.name}: there is no revision {number}")
            names = self._read(one)
            if names is None:
                return
            if missing := named - names:
                self.faults.add("manifest", f"{one.name} leaves out what the revision before names: {min(missing)}")
            named = names
            if number == 1:
                self._first(one, hour, named)
        if hour[1] < self.how.until:
            self._last(revisions[-1], hour, named)

    def unsealed(self, sealed: Iterable[Hour]) -> None:
        for topic, hour in sorted((self.records.keys() | self.of_hour.keys()) - set(sealed)):
            if hour < self.how.until:
                self.faults.add("unsealed", f"{topic} {hour}: {len(self.records.get((topic, hour), []))} records, and no manifest")

    # One manifest

    def _read(self, one: StoredManifest) -> set[str] | None:
        """Names of the objects; none where nothing can be read."""
        try:
            value = json.loads(one.body)
            names = {str(entry["key"]) for entry in value["objects"]}
            problems = [*self._head(one, value), *(problem for entry in value["objects"] for problem in self._entry(one, entry))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.faults.add("manifest", f"{one.name}: {error!r} in {one.body[:200]!r}")
            return None
        for problem in problems:
            self.faults.add("manifest", f"{one.name}: {problem}")
        return names

    def _head(self, one: StoredManifest, value: dict[str, Any]) -> Iterable[str]:
        told = (value["v"], value["topic"], value["revision"], moment(value["hour"]) + _HOUR)
        if told != (1, one.topic, one.revision, end_of(one.hour)):
            yield f"it says of itself {told[:3]} and {value['hour']}"
        clock = moment(value["clock"])
        if clock < end_of(one.hour) + self.how.grace_us:
            yield f"sealed at {value['clock']}, before the hour had passed"
        if not self.clocks or clock > self.clocks[-1][0]:
            yield f"sealed at {value['clock']}, which no position in Kafka has reached"
        entries = value["objects"]
        if len({entry["key"] for entry in entries}) != len(entries):
            yield "it names an object twice"
        for field in ("records", "tombstones"):
            if value[field] != sum(entry[field] for entry in entries):
                yield f"{value[field]} {field}; its objects have {sum(entry[field] for entry in entries)}"
        if entries:
            first = min((entry["first_pos"] for entry in entries), key=_order)
            last = max((entry["last_pos"] for entry in entries), key=_order)
            told = (value["first_pos"], value["last_pos"], value["first_lsn"], value["last_lsn"])
            if told != (first, last, _lsn(first), _lsn(last)):
                yield f"positions {told}; its objects have {first} to {last}"

    def _entry(self, one: StoredManifest, entry: dict[str, Any]) -> Iterable[str]:
        stored = self.objects.get(entry["key"])
        if stored is None:
            yield f"there is no object {entry['key']}"
            return
        told = {"hour": (one.topic, one.hour), "partition": entry["partition"], "size": entry["size"], "sha256": entry["sha256"]}
        there = {"hour": (stored.topic, stored.hour), "partition": stored.partition, "size": stored.size, "sha256": stored.sha256}
        for field in ("start", "end", "records", "tombstones", "first_pos", "last_pos"):
            told[field], there[field] = str(entry[field]), stored.meta.get(field.replace("_", "-"), "")
        if wrong := [field for field in told if told[field] != there[field]]:
            yield f"{entry['key']}: {wrong[0]} {told[wrong[0]]}, the object has {there[wrong[0]]}"

    # An hour's rows

    def _first(self, one: StoredManifest, hour: Hour, named: set[str]) -> None:
        """An hour that is sealed has what was committed before the source's clock had passed it: that was in Kafka by then."""
        at = bisect_left(self.clocks, (end_of(hour[1]) + self.how.grace_us, 0))
        if at == len(self.clocks):
            return  # said already: no position has reached its clock
        lsn = self.clocks[at][1]
        known = [record for record in self.records.get(hour, []) if self.ends(record) <= lsn]
        self.verdict.in_time += len(known)
        for record in self._left_out(known, named):
            self.faults.add("sealed early", f"{one.name} does not have {record.topic}[{record.partition}]@{record.offset}, committed before"
                                            f" {format_lsn(lsn)}, where the clock had passed the hour")

    def _last(self, one: StoredManifest, hour: Hour, named: set[str]) -> None:
        for name in sorted(self.of_hour.get(hour, set()) - named):
            self.faults.add("unsealed", f"{one.name} does not name {name}")
        for record in self._left_out(self.records.get(hour, []), named):
            self.faults.add("unsealed", f"{one.name} does not have {record.topic}[{record.partition}]@{record.offset}")

    def _left_out(self, records: list[Record], named: set[str]) -> Iterable[Record]:
        """Those that are in the range of no object that is named."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        for stored in (self.objects[name] for name in named if name in self.objects):
            start, end = stored.meta.get("start", ""), stored.meta.get("end", "")
            if start.isdigit() and end.isdigit():
                ranges.setdefault(stored.partition, []).append((int(start), int(end)))
        for record in records:
            if not any(start <= record.offset <= end for start, end in ranges.get(record.partition, [])):
                yield record


def _order(position: str) -> tuple[int, int, int, int]:
    epoch, high, low, ordinal, _ = position.split("/")
    return int(epoch), int(high, 16), int(low, 16), int(ordinal)


def _lsn(position: str) -> str:
    return "/".join(position.split("/")[1:3])
