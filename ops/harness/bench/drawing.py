"""The results as one picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from operator import itemgetter
from typing import Any

from . import ways
from .targets import AXES, FLAT, axes, judged

WIDTH, GAP = 1080, 40
HALF = (WIDTH - 3 * GAP) / 2
OURS, OTHER, GOOD, INK, FAINT, LIMIT = "#1d6fb8", "#a9b4c2", "#2f9e6e", "#1f2933", "#8895a7", "#c2410c"


@dataclass
class Canvas:
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, size: int = 12, colour: str = INK, anchor: str = "start", weight: str = "normal") -> None:
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>')

    def rect(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.5, width):.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = "#e3e8ee", width: float = 1, dash: str = "") -> None:
        more = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{more}/>')

    def path(self, points: list[tuple[float, float]], colour: str) -> None:
        if points:
            self.parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{colour}" stroke-width="2"/>')

    def dot(self, x: float, y: float, colour: str, radius: float = 3, fill: str | None = None) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill or colour}" stroke="{colour}"/>')

    def title(self, x: float, y: float, title: str, under: str) -> None:
        self.text(x, y, title, 15, weight="bold")
        self.text(x, y + 17, under, 11, FAINT)


@dataclass
class Bar:
    name: str
    value: float
    label: str
    colour: str
    each: list[float] = field(default_factory=list)
    limit: float | None = None


def bars(canvas: Canvas, x: float, y: float, found: list[Bar], label: float = 165) -> float:
    """Horizontal bars; a dot for each round, a stroke where the target is. Answers the height."""
    most = max([bar.value for bar in found] + [one for bar in found for one in bar.each] + [bar.limit or 0 for bar in found]) or 1
    room = HALF - label - 120
    for number, bar in enumerate(found):
        top = y + number * 25
        canvas.text(x + label - 8, top + 13, bar.name, anchor="end")
        canvas.rect(x + label, top, bar.value / most * room, 17, bar.colour)
        for one in bar.each:
            canvas.dot(x + label + one / most * room, top + 8.5, INK, 2, "white")
        if bar.limit is not None:
            canvas.line(x + label + bar.limit / most * room, top - 3, x + label + bar.limit / most * room, top + 20, LIMIT, 2)
        end = max([bar.value, *bar.each, bar.limit or 0]) / most * room
        canvas.text(x + label + end + 8, top + 13, bar.label, 11)
    return len(found) * 25.0


def short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def rates(stream: dict[str, Any]) -> list[Bar]:
    found = []
    for way in ways.of(stream):
        name = ways.NAMES[way]
        for subject, colour in (("pg_recvlogical", OTHER), ("sluice", OURS)):
            one = stream[way][subject]
            found.append(Bar(f"{subject}, {name}", one["rows_per_second"], f"{short(one['rows_per_second'])}/s, {one['cpu_seconds_per_million']:.1f} CPU s", colour,
                             [run["rate"] for run in one["runs"]]))
    if "debezium" in stream:
        one = stream["debezium"]
        found.append(Bar("Debezium, TCP", one["rows_per_second"], f"{short(one['rows_per_second'])}/s, {one['cpu_seconds_per_million']:.0f} CPU s", OTHER))
    return found


def sinks(subjects: dict[str, Any]) -> list[Bar]:
    targets = {"file lz4": 400_000, "file gzip": 300_000}
    names = {"consumer that looks up the header": "… and its header",
             **{f"{store} {kind}": f"sink to {'a file' if store == 'file' else 'S3'}, {kind}" for store in ("file", "S3") for kind in ("none", "lz4", "gzip")}}
    return [Bar(names.get(name, f"bare {name}"), one["rows_per_second"],
                f"{short(one['rows_per_second'])}/s, {one['cpu_seconds_per_million']:.1f} CPU s", OURS if name.startswith(("file", "S3")) else OTHER,
                [run["rate"] for run in one["runs"]], targets.get(name)) for name, one in subjects.items()]


def memories(parts: dict[str, Any]) -> list[Bar]:
    found = []
    if stream := parts.get("stream"):
        found.append(("stream, steady", max(stream[way]["sluice"]["peak_megabytes"] for way in ways.of(stream)), 64))
    if memory := parts.get("memory"):
        rows = short(memory["rows"])
        found += [(f"stream, {rows} rows at once", memory["streaming alone"]["peak_megabytes"], 64), ("both, steady", memory["steady, with the sink"]["peak_megabytes"], 96),
                  (f"both, {rows} rows at once", memory["with the sink"]["peak_megabytes"], 96)]
    if sink := parts.get("sink"):
        found += [(f"sink, {kind}", sink["subjects"][f"file {kind}"]["peak_megabytes"], 64) for kind in ("none", "lz4", "gzip")]
    return [Bar(name, value, f"{value:.0f} of {limit} MB", GOOD if value <= limit else LIMIT, limit=limit) for name, value, limit in found]


def latencies(canvas: Canvas, x: float, y: float, found: dict[str, Any]) -> float:
    """Share of the transactions that were visible after so many milliseconds."""
    width, height = HALF - 50, 190.0
    share = [*range(0, 100, 2), 99, 99.5, 99.9]
    shown = {"floor": (OTHER, "floor"), "floor beside the writers": (FAINT, "floor beside the writers"), "sluice": (OURS, "sluice")}
    values = [max(0.1, value) for name in shown for value in found[name]["curve"]]
    low, high = math.log10(min(values)) - 0.05, math.log10(max(values)) + 0.05

    def across(value: float) -> float:
        return x + 40 + (math.log10(max(0.1, value)) - low) / (high - low) * width
    for percent in (0, 25, 50, 75, 99):
        canvas.line(x + 40, y + height * (1 - percent / 100), x + 40 + width, y + height * (1 - percent / 100))
        canvas.text(x + 34, y + height * (1 - percent / 100) + 4, f"{percent} %", 10, FAINT, "end")
    for power in range(-1, 5):
        for step in (1, 2, 5):
            value = step * 10.0**power
            if low <= math.log10(value) <= high:
                canvas.line(across(value), y, across(value), y + height)
                canvas.text(across(value), y + height + 15, f"{value:g} ms", 10, FAINT, "middle")
    for number, (name, (colour, label)) in enumerate(shown.items()):
        one = found[name]
        canvas.path([(across(value), y + height * (1 - percent / 100)) for value, percent in zip(one["curve"], share, strict=True)], colour)
        canvas.rect(x + 40 + number * 150, y + height + 26, 10, 10, colour)
        canvas.text(x + 55 + number * 150, y + height + 35, label, 11)
        canvas.text(x + 55 + number * 150, y + height + 49, f"p50 {one['p50']:.1f}, p99 {one['p99']:.1f} ms", 11, FAINT)
    return height + 55


def chart(canvas: Canvas, x: float, y: float, width: float, height: float, points: list[dict[str, Any]], value: Callable[[dict[str, Any]], float],
          top: float, marks: list[float], limit: float | None, colour: str, below: bool) -> None:
    """One small chart over an axis of powers of ten."""
    low, high = math.log10(points[0]["at"]), math.log10(points[-1]["at"])

    def at(point: dict[str, Any]) -> tuple[float, float]:
        share = (math.log10(point["at"]) - low) / (high - low) if high > low else 0.5
        return x + 12 + share * (width - 24), y + height * (1 - min(1.0, value(point) / top))
    for mark in marks:
        canvas.line(x, y + height * (1 - mark / top), x + width, y + height * (1 - mark / top))
        canvas.text(x - 5, y + height * (1 - mark / top) + 4, f"{mark:g}", 10, FAINT, "end")
    if limit is not None:
        canvas.line(x, y + height * (1 - limit / top), x + width, y + height * (1 - limit / top), LIMIT, 1, "4 3")
    canvas.path([at(point) for point in points if not point["mixed"]], colour)
    for point in points:
        place = at(point)
        canvas.dot(*place, colour, 3.5, "white" if point["mixed"] else None)
        if below and not point["mixed"]:
            canvas.text(place[0], y + height + 15, short(point["at"]), 10, FAINT, "middle")


def draw(parts: dict[str, Any]) -> str:
    canvas = Canvas()
    left, right, y = GAP, 2 * GAP + HALF, 66.0
    facts = next(iter(parts.values()))["facts"]
    canvas.text(left, 30, "sluice: what was measured", 19, weight="bold")
    canvas.text(left, 48, f"{facts['machine']}; {facts['when']}; an orange stroke is a target, a white dot one round", 11, FAINT)
    heights = [0.0]
    if stream := parts.get("stream"):
        canvas.title(left, y + 20, "WAL to committed in Kafka", "rows a second, CPU seconds of the client a million rows")
        heights.append(55 + bars(canvas, left, y + 50, rates(stream)))
    if latency := parts.get("latency"):
        canvas.title(right, y + 20, "Commit to visible", f"{latency['rows_per_second']:,} transactions of one row a second; share that was visible after")
        heights.append(60 + latencies(canvas, right, y + 50, latency["milliseconds"]))
    y += max(heights) + (30 if max(heights) else 0)
    heights = [0.0]
    if sink := parts.get("sink"):
        canvas.title(left, y + 20, "From a full topic", "records a second, CPU seconds a million records")
        heights.append(55 + bars(canvas, left, y + 50, sinks(sink["subjects"])))
    if found := memories(parts):
        canvas.title(right, y + 20, "Resident memory", "the most that ever was, MB")
        heights.append(55 + bars(canvas, right, y + 50, found))
    y += max(heights) + (30 if max(heights) else 0)
    if grown := axes(parts):
        canvas.title(left, y + 20, "How cost grows", "above: rate as a share of pg_recvlogical's on the same WAL, over bytes a row in MB/s; below: peak resident MB; a hollow dot: each row into another table")
        width = (WIDTH - 2 * GAP - 3 * 45 - 20) / 4
        for number, (axis, points) in enumerate(grown.items()):
            x = left + 20 + number * (width + 45)
            canvas.text(x, y + 62, AXES[axis], 12, weight="bold")
            figure = judged(axis)
            marks = [0, 0.5, 1] if figure == "ratio" else [0, 100, 200]
            chart(canvas, x, y + 74, width, 120, points, itemgetter(figure), max(marks[-1] * 1.2, *(point[figure] for point in points)), marks,
                  points[0][figure] * FLAT, OURS, False)
            chart(canvas, x, y + 214, width, 80, points, lambda point: point["peak_megabytes"], max(100, *(point["peak_megabytes"] for point in points)), [0, 50, 100],
                  64, GOOD, True)
        y += 335
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" width="{WIDTH}" height="{y:.0f}" font-family="Helvetica, Arial, sans-serif">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(canvas.parts)}</svg>\n')
