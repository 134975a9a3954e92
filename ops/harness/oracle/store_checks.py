"""The comparison of the objects with the records that Kafka shows. Pure, like `checks`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

from .objects import Listed, StoredObject
from .topics import Partition, Record
from .verdict import Verdict


def hour_of(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, timezone.utc).strftime("%Y-%m-%dT%H")


def _number(stored: StoredObject, field: str) -> int:
    text = stored.meta.get(field, "")
    return int(text) if text.isdigit() else -1


def check_objects(verdict: Verdict, objects: list[StoredObject], kafka: Mapping[Partition, list[Record]],
                  repeats: Mapping[Partition, set[int]], complete: bool) -> None:
    """`repeats`: offsets of records that were written again, and are in an object already: a range covers them, no line shows them."""
    faults = verdict.s3
    verdict.objects = len(objects)
    verdict.lines = sum(len(stored.lines) for stored in objects)
    by_partition: dict[Partition, list[StoredObject]] = {partition: [] for partition in kafka}
    for stored in objects:
        if (stored.topic, stored.partition) in by_partition:
            by_partition[(stored.topic, stored.partition)].append(stored)
        else:
            faults.add("damaged", f"{stored.name}: no such partition")
    for partition, records in kafka.items():
        _check_partition(verdict, by_partition[partition], records, repeats[partition], complete)


def check_unchanged(verdict: Verdict, now: Mapping[str, Listed], earlier: Iterable[Mapping[str, Listed]]) -> None:
    """Objects and manifests: none is ever written again, nor with the same bytes."""
    for listing in earlier:
        for name, listed in listing.items():
            if now.get(name) != listed:
                verdict.s3.add("rewritten", f"{name}: was {', '.join(map(str, listed))}, is {', '.join(map(str, now.get(name, ('gone',))))}")


def _check_partition(verdict: Verdict, objects: list[StoredObject], records: list[Record], repeats: set[int], complete: bool) -> None:
    faults = verdict.s3
    offsets = [record.offset for record in records]
    covered: Counter[int] = Counter()
    expected_next = 0  # index into records
    for stored in sorted(objects, key=lambda stored: stored.start):
        start, end = _number(stored, "start"), _number(stored, "end")
        if start != stored.start or end < start:
            faults.add("damaged", f"{stored.name}: range {stored.meta.get('start')}..{stored.meta.get('end')} in the metadata")
            start, end = stored.start, max(stored.start, end)
        low, high = bisect_left(offsets, start), bisect_right(offsets, end)
        inside = records[low:high]
        if not inside or inside[0].offset != start or inside[-1].offset != end:
            faults.add("gaps", f"{stored.name}: its range {start}..{end} does not begin and end at a record")
        if low != expected_next:
            kind = "overlaps the one before" if low < expected_next else f"leaves {low - expected_next} records out before it"
            faults.add("gaps", f"{stored.name}: its range {kind}")
        expected_next = max(expected_next, high)
        covered.update(record.offset for record in inside)
        _check_object(verdict, stored, inside, repeats)

    # By content, whatever ranges the metadata claims. Values carry their position, so no two records are equal.
    held: Counter[bytes] = Counter(line for stored in objects for line in stored.lines)
    until = offsets[-1] if complete and offsets else max((offset for offset in covered), default=-1)
    for record in records:
        if record.offset > until:
            break
        if record.value is None or record.offset in repeats:
            if not covered[record.offset]:
                faults.add("lost", f"{record.topic}[{record.partition}]@{record.offset}: it is in no range")
            continue
        copies = held.pop(record.value, 0)
        if copies == 0:
            faults.add("lost", f"{record.topic}[{record.partition}]@{record.offset}")
        elif copies > 1:
            faults.add("twice", f"{record.topic}[{record.partition}]@{record.offset} in {copies} lines")
    for line, copies in held.items():
        faults.add("damaged", f"a line that is in no record, {copies} times: {line[:120]!r}")


def _check_object(verdict: Verdict, stored: StoredObject, inside: list[Record], repeats: set[int]) -> None:
    faults = verdict.s3
    once = [record for record in inside if record.offset not in repeats]
    tombstones = sum(1 for record in once if record.value is None)
    if not stored.whole:
        faults.add("damaged", f"{stored.name}: does not decode to whole lines")
    if stored.sha256 != stored.meta.get("sha256"):
        faults.add("damaged", f"{stored.name}: sha256 is {stored.sha256}, the metadata says {stored.meta.get('sha256')}")
    # `records` counts lines; a tombstone is no line.
    if _number(stored, "records") != len(once) - tombstones or _number(stored, "tombstones") != tombstones:
        faults.add("damaged", f"{stored.name}: {len(once) - tombstones} records and {tombstones} tombstones; the metadata says"
                              f" {stored.meta.get('records')} and {stored.meta.get('tombstones')}")
    if inside and (stored.meta.get("first-pos"), stored.meta.get("last-pos")) != (inside[0].position_text, inside[-1].position_text):
        faults.add("damaged", f"{stored.name}: positions {stored.meta.get('first-pos')} .. {stored.meta.get('last-pos')} in the metadata,"
                              f" {inside[0].position_text} .. {inside[-1].position_text} in Kafka")
    values = [record.value for record in once if record.value is not None]
    if stored.lines != values:
        at = next((n for n, (line, value) in enumerate(zip(stored.lines, values)) if line != value), min(len(stored.lines), len(values)))
        faults.add("damaged", f"{stored.name}: {len(stored.lines)} lines, Kafka has {len(values)} values; they differ from line {at + 1}")
    for record in once:
        if record.position is not None and hour_of(record.position.commit_us) != stored.hour:
            faults.add("misplaced", f"{stored.name}: {record.topic}[{record.partition}]@{record.offset} is of {hour_of(record.position.commit_us)}")
