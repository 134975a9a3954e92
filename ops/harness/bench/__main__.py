"""`python -m harness.bench`: see ops/bench/run."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..agent import REPOSITORY, binary
from ..processes import Lab
from . import report
from .load import LOAD, TABLE
from .parts import decoder, growth, latency, memory, sink, standby, stream
from .servers import Options, Servers

__all__ = ["LOAD", "TABLE"]
# In this order: those that need a quiet broker before those that leave much in it.
PARTS: dict[str, Callable[[Servers], dict[str, Any]]] = {
    "stream": stream.run, "sink": sink.run, "latency": latency.run, "decoder": decoder.run, "standby": standby.run, "memory": memory.run,
    "growth": growth.run}


def facts(options: Options) -> dict[str, str]:
    def answer(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    commit = answer("git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD")
    changed = answer("git", "-C", str(REPOSITORY), "status", "--porcelain", "--", "Sources", "Package.swift")
    load = os.getloadavg()[0]
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_model()}, {len(os.sched_getaffinity(0))} processors, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "versions": f"{answer(str(binary()), '--version')} ({commit}{' and changes' if changed else ''}), PostgreSQL 15, Apache Kafka 4.3.1 (one broker),"
                    f" librdkafka {answer('pkg-config', '--modversion', 'rdkafka')}",
        "load before": f"{load:.1f}",
        "rows": f"{options.rows:,}", "rounds": str(options.rounds), **({"scale": str(options.scale)} if options.scale != 1 else {})}


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures every line of the table of targets; writes ops/bench/results.*.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the backlog that stream, sink, decoder and memory read")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="of the sizes of latency, memory and growth: below 1 for a trial")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; the others keep the results that they have")
    parser.add_argument("--debezium", type=Path, help="the folder of a measure.py that runs Debezium over a slot's backlog")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "ops" / "bench", help="where results.* and the README are")
    parser.add_argument("--report", action="store_true", help="measures nothing, writes the pages from results.json again")
    chosen = parser.parse_args()
    wanted = chosen.only.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: {', '.join(PARTS)}")
    options = Options(chosen.rows, chosen.rounds, chosen.scale, chosen.debezium)
    if chosen.report:
        report.write(chosen.output)
        return 0
    began = time.monotonic()
    with Lab("sluice-bench-") as lab:
        known, servers = facts(options), Servers(lab, options)
        for name, part in PARTS.items():
            if name not in wanted:
                continue
            print(f"{name} ({time.monotonic() - began:.0f} s)", flush=True)
            at = time.monotonic()
            measured = part(servers)
            report.merge(chosen.output, name, {"facts": {**known, "seconds": f"{time.monotonic() - at:.0f}"}, **measured})
        report.write(chosen.output)
        print((chosen.output / "results.md").read_text())
        print(f"{time.monotonic() - began:.0f} s in all")
        return 0


if __name__ == "__main__":
    sys.exit(main())
