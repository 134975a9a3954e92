"""results.json, and the pages that are made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import ways
from .drawing import draw
from .targets import AXES, axes, lines

MARK = ("<!-- results: written by ops/bench/run -->", "<!-- end of results -->")


def merge(folder: Path, name: str, part: dict[str, Any]) -> None:
    """Puts one part's figures in the place of its older ones."""
    file = folder / "results.json"
    known = json.loads(file.read_text()) if file.exists() else {"parts": {}}
    known["parts"][name] = part
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=1) + "\n")


def write(folder: Path) -> None:
    parts = json.loads((folder / "results.json").read_text())["parts"]
    table = targets_table(parts)
    (folder / "results.svg").write_text(draw(parts))
    (folder / "results.md").write_text("\n\n".join(["# Results", "Written by `ops/bench/run`; the words are in [README.md](README.md).", table, *details(parts)]) + "\n")
    page = folder / "README.md"
    if page.exists() and MARK[0] in (text := page.read_text()):
        head, rest = text.split(MARK[0], 1)
        page.write_text(f"{head}{MARK[0]}\n{machine(parts)}\n\n{table}\n{MARK[1]}{rest.split(MARK[1], 1)[1]}")


def machine(parts: dict[str, Any]) -> str:
    """What the figures were measured on; more than one line where the parts come from different runs."""
    told: dict[str, list[str]] = {}
    for name, part in parts.items():
        facts = part["facts"]
        told.setdefault("; ".join(f"{key} {facts[key]}" if key in ("rounds", "scale", "load before") else facts[key]
                                  for key in ("machine", "kernel", "versions", "rounds", "scale") if key in facts), []).append(f"{name} {facts['when']}")
    return "\n\n".join(f"{what} ({', '.join(when)})." for what, when in told.items())


def targets_table(parts: dict[str, Any]) -> str:
    return "\n".join(["| what | target | measured | |", "|---|---|---|---|",
                      *(f"| {one.what} | {one.target} | {one.reached} | {one.verdict} |" for one in lines(parts))])


def _rates(rows: dict[str, dict[str, Any]], unit: str = "rows") -> str:
    return "\n".join([f"| | {unit}/s | CPU s per 1M | peak resident MB |", "|---|---|---|---|",
                      *(f"| {name} | {one['rows_per_second']:,.0f} | {one['cpu_seconds_per_million']:.2f} | {one['peak_megabytes']:.0f} |" for name, one in rows.items())])


def details(parts: dict[str, Any]) -> list[str]:
    """A section for each part that was measured."""
    found: list[str] = ["## What on", machine(parts)]
    if stream := parts.get("stream"):
        rows = {f"{'pg_recvlogical to /dev/null' if subject == 'pg_recvlogical' else 'sluice to Kafka'}, {ways.NAMES[way]}": stream[way][subject]
                for way in ways.of(stream) for subject in ("pg_recvlogical", "sluice")}
        if "debezium" in stream:
            rows[f"{stream['debezium']['what']}, exactly once, tuned, TCP"] = stream["debezium"]
        found += ["## WAL to committed in Kafka", f"{stream['rows']:,} rows in transactions of 1,000, {stream['wal_bytes'] / 1e6:.0f} MB of WAL; medians.", _rates(rows),
                  "Ratio to `pg_recvlogical`, round by round: " + "; ".join(f"{ways.NAMES[way]} {', '.join(f'{one:.3f}' for one in stream[way]['ratios'])}"
                                                                          for way in ways.of(stream)) + "."]
    if sink := parts.get("sink"):
        found += ["## From a full topic", f"{sink['rows']:,} records; `S3` is {sink['store']} on the same machine, and takes its share of it.", _rates(
            {f"bare librdkafka {name}" if name.startswith(("producer", "consumer")) else f"sink, {name}": one for name, one in sink["subjects"].items()}, "records")]
    if latency := parts.get("latency"):
        found += ["## Commit to visible", f"{latency['rows_per_second']:,} transactions of one row a second over {latency['connections']} connections, {latency['seconds']:g} s;"
                  f" the agent used {latency['cpu_seconds_per_million']:.1f} CPU s per 1M rows and {latency['peak_megabytes']:.0f} MB at most.",
                  "\n".join(["| ms | p50 | p90 | p99 | most | transactions |", "|---|---|---|---|---|---|",
                             *(f"| {name} | {one['p50']:.1f} | {one['p90']:.1f} | {one['p99']:.1f} | {one['max']:.1f} | {one['transactions']:,} |"
                               for name, one in latency["milliseconds"].items())])]
    if memory := parts.get("memory"):
        found += ["## Memory", f"{memory['rows']:,} rows in one transaction, and the backlog of 1,000 rows a transaction (steady).",
                  _rates({name: one for name, one in memory.items() if isinstance(one, dict) and name != "facts"})]
    if decoder := parts.get("decoder"):
        found += ["## The decoder", f"{decoder['messages']:,} messages, {decoder['bytes'] / 1e6:.0f} MB, one core. `decode` reads and checks every message into cells; `encode` also"
                  " writes key, envelope and position.",
                  "\n".join(["| | GB/s read | rows/s | GB/s written |", "|---|---|---|---|",
                             *(f"| {kind} | {decoder[kind]['gigabytes_per_second']:.2f} | {decoder[kind]['rows_per_second']:,} | {decoder[kind]['written_gigabytes_per_second']:.2f} |"
                               for kind in ("decode", "encode"))])]
    if standby := parts.get("standby"):
        found += ["## Take-over", f"kill -9 to the first later row visible, {standby['takeovers']} times: {', '.join(f'{one:.2f}' for one in standby['seconds'])} s."]
    if axes(parts):
        found.append("## How cost grows")
        for axis, points in axes(parts).items():
            found.append("\n".join([f"| {AXES[axis]} | rows | rows/s | MB/s | of pg_recvlogical | CPU s per 1M | peak resident MB |", "|---|---|---|---|---|---|---|", *(
                f"| {point['at']:,}{', each row another' if point['mixed'] else ''} | {point['rows']:,} | {point['rows_per_second']:,.0f} | {point['megabytes_per_second']:.1f}"
                f" | {point['ratio']:.2f} | {point['cpu_seconds_per_million']:.2f} | {point['peak_megabytes']:.0f} |" for point in points)]))
    return found
