"""The table of targets, and what each line reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import ways

# What "flat" means: no point gets less of pg_recvlogical's rate (of bytes a row: fewer MB/s) than this share of what the first point of its axis gets.
FLAT = 0.8


@dataclass(frozen=True)
class Line:
    what: str
    target: str
    reached: str
    good: bool | None  # None: not measured

    @property
    def verdict(self) -> str:
        return {True: "reached", False: "**not reached**", None: "not measured"}[self.good]


def lines(parts: dict[str, Any]) -> list[Line]:
    found: list[Line] = []
    for judge in (_stream, _memory, _latency, _decoder, _sink, _standby, _growth):
        found += judge(parts)
    return found


def judged(axis: str) -> str:
    """Which of a point's figures must be flat: what a row of a thousand times the bytes costs can only be told by the byte, all else is relative
    to the server."""
    return "megabytes_per_second" if axis == "row_bytes" else "ratio"


def _stream(parts: dict[str, Any]) -> list[Line]:
    found = []
    stream = parts.get("stream", {})
    for way, least, peer in (("tcp", 0.95, 3.5), ("socket", 0.9, 5), ("wide", 0.9, 5)):
        name = ways.NAMES[way]
        one = stream.get(way)
        if way == "wide" and stream and not one:
            continue  # this machine did not let us
        found.append(Line(f"WAL to committed in Kafka, {name}", f">= {least} of `pg_recvlogical`", f"{one['ratio']:.3f}" if one else "", one and one["ratio"] >= least))
        times = one.get("of_debezium") if one else None
        found.append(Line(f"WAL to committed in Kafka, {name}", f">= {peer} x Debezium, tuned", f"{times:.1f} x" if times else "", times and times >= peer))
    cpu = max((stream[way]["sluice"]["cpu_seconds_per_million"] for way in ways.of(stream)), default=0) if stream else None
    return [*found, Line("CPU of the agent, all threads, a million rows", "<= 3 s", f"{cpu:.2f} s" if cpu else "", cpu and cpu <= 3)]


def _most(what: str, value: float | None, most: float, unit: str) -> Line:
    return Line(what, f"<= {most:g} {unit}", "" if value is None else f"{value:.3g} {unit}", None if value is None else value <= most)


def _least(what: str, value: float | None, least: float, unit: str, show: str) -> Line:
    return Line(what, f">= {least:,g} {unit}", "" if value is None else f"{value:{show}} {unit}", None if value is None else value >= least)


def _memory(parts: dict[str, Any]) -> list[Line]:
    stream, memory = parts.get("stream"), parts.get("memory")
    steady = max(stream[way]["sluice"]["peak_megabytes"] for way in ways.of(stream)) if stream else None
    rows = f"{memory['rows']:,} rows in one transaction" if memory else "5,000,000 rows in one transaction"

    def of(name: str) -> float | None:
        return memory[name]["peak_megabytes"] if memory else None
    return [_most("Resident memory, streaming alone, steady", steady, 64, "MB"), _most(f"Resident memory, streaming alone, {rows}", of("streaming alone"), 64, "MB"),
            _most("Resident memory, with the sink, steady", of("steady, with the sink"), 96, "MB"),
            _most(f"Resident memory, with the sink, {rows}", of("with the sink"), 96, "MB")]


def _latency(parts: dict[str, Any]) -> list[Line]:
    latency = parts.get("latency")
    found = []
    for name, more in (("p50", 10), ("p99", 40)):
        what, target = f"Commit to visible at {latency['rows_per_second'] if latency else 2000:,} rows/s, {name}", f"<= floor + {more} ms"
        if latency is None:
            found.append(Line(what, target, "", None))
            continue
        floor, sluice = latency["milliseconds"]["floor"][name], latency["milliseconds"]["sluice"][name]
        found.append(Line(what, target, f"{sluice:.1f} ms: floor {floor:.1f} + {sluice - floor:.1f}", sluice <= floor + more))
    return found


def _decoder(parts: dict[str, Any]) -> list[Line]:
    decoder = parts.get("decoder")
    return [_least("Decoder alone, on a recorded stream, one core", decoder and decoder["decode"]["gigabytes_per_second"], 1, "GB/s", ".2f")]


def _sink(parts: dict[str, Any]) -> list[Line]:
    sink = parts.get("sink", {}).get("subjects", {})
    lz4, gzip = sink.get("file lz4", {}), sink.get("file gzip", {})
    return [_least("Sink, full topic to objects, lz4", lz4.get("rows_per_second"), 400_000, "records/s", ",.0f"),
            _most("Sink, lz4, CPU a million records", lz4.get("cpu_seconds_per_million"), 2.5, "s"), _most("Sink, lz4, resident memory", lz4.get("peak_megabytes"), 64, "MB"),
            _least("Sink, full topic to objects, gzip", gzip.get("rows_per_second"), 300_000, "records/s", ",.0f"),
            _most("Sink, gzip, CPU a million records", gzip.get("cpu_seconds_per_million"), 4, "s")]


def _standby(parts: dict[str, Any]) -> list[Line]:
    standby = parts.get("standby")
    return [_most("kill -9 to rows flowing again, hot standby, the slowest", standby and standby["max"], 5, "s")]


def axes(parts: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The points of each axis; the largest transaction comes from the part about memory."""
    found: dict[str, list[dict[str, Any]]] = {}
    for point in parts.get("growth", {}).get("points", []):
        found.setdefault(point["axis"], []).append(point)
    memory = parts.get("memory")
    if memory and "transaction_rows" in found:
        found["transaction_rows"].append({"axis": "transaction_rows", "at": memory["rows"], "mixed": False, "rows": memory["rows"], **memory["streaming alone"],
                                          "ratio": memory["ratio"], "pg_recvlogical": memory["pg_recvlogical"],
                                          "megabytes_per_second": round(108 * memory["streaming alone"]["rows_per_second"] / 1e6, 1)})
    for points in found.values():
        points.sort(key=lambda point: (point["at"], point["mixed"]))
    return found


AXES = {"tables": "tables", "partitions": "partitions", "row_bytes": "bytes a row", "transaction_rows": "rows a transaction"}


def _growth(parts: dict[str, Any]) -> list[Line]:
    found = []
    for axis, name in AXES.items():
        points = axes(parts).get(axis)
        by_bytes = judged(axis) != "ratio"
        target = f"no point below {FLAT} of the first, {'in MB/s' if by_bytes else 'relative to `pg_recvlogical`'}; <= 64 MB"
        if not points:
            found.append(Line(f"Flat over {name}", target, "", None))
            continue
        mixed = [point for point in points if point["mixed"]]
        for what, those in ((name, [point for point in points if not point["mixed"]]),
                            *((f"{name}, where each row of a transaction goes into another", [points[0], point]) for point in mixed)):
            lowest = min(point[judged(axis)] for point in those) / those[0][judged(axis)]
            most = max(point["peak_megabytes"] for point in those)
            shown = ", ".join(f"{point['at']:,}: "
                              + (f"{point['megabytes_per_second']:.0f} MB/s, {point['ratio']:.2f} of `pg_recvlogical`" if by_bytes else f"{point['ratio']:.2f}")
                              for point in those)
            found.append(Line(f"Flat over {what}", target, f"{lowest:.2f}; {most:.0f} MB ({shown})", lowest >= FLAT and most <= 64))
    return found
