"""`ops/campaign/outage`: a server is gone for ten minutes, under load (C7). Memory and disk stay under their bounds, the replication
connection lives, the metrics say what is the matter, and when the server is back all drains and the oracle finds nothing missing."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from ..agent import Agent, merge
from ..processes import Lab, peak_memory, wait_until
from ..site import Site
from .world import Choice, World

MIB = 1 << 20
MEMORY = 96 * MIB  # resident, with the sink (issue 6)
SPOOL = 64 * MIB
DISK = 8 * MIB  # of the third: smaller than `limits.spool`


@dataclass
class Watch:
    """What was seen, second by second: bounds until after the verdict, the rest while the server was gone."""

    what: str
    seconds: float
    peak_memory: int = 0
    peak_spool: int = 0
    peak_disk: int = 0
    walsenders: set[int | None] = field(default_factory=set)
    not_ready: int = 0
    samples: int = 0
    after: int = 0  # samples behind the outage
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    paused: int = 0
    drained_seconds: float = 0
    verdict: str = ""
    wrong: list[str] = field(default_factory=list)

    def must(self, true: bool, what: str) -> None:
        if not true:
            self.wrong.append(what)

    def line(self) -> str:
        grown = ", ".join(f"{name} {self.first.get(name, 0):,.0f} -> {value:,.0f}" for name, value in sorted(self.last.items()))
        return (f"outage: {self.what} for {self.seconds:.0f} s: peak memory {self.peak_memory / MIB:.1f} MiB, spool {self.peak_spool / MIB:.1f} MiB,"
                f" walsender {'the same' if len(self.walsenders) == 1 else self.walsenders}, not ready in {self.not_ready} of {self.samples} looks (and {self.after} behind),"
                f" sink paused in {self.paused}, drained {self.drained_seconds:.0f} s after | {grown} | {self.verdict}"
                f" | {'as it must be' if not self.wrong else 'WRONG: ' + '; '.join(self.wrong)}")


SHOWN = ("sluice_errors_total", "sluice_retries_total", "sluice_sink_lag_records", "sluice_sink_spool_failures_total", "sluice_buffered_bytes")


def shown(agent: Agent) -> dict[str, float]:
    metrics = agent.metrics()
    found = {name: sum(value for key, value in metrics.items() if key.split("{")[0] == name) for name in SHOWN}
    found |= {f"lag of {step}": metrics.get(f'sluice_lag_bytes{{step="{step}"}}', 0) for step in ("received", "kafka", "s3")}
    return found


def walsender(site: Site, connection: psycopg.Connection[tuple]) -> int | None:
    row = connection.execute("select active_pid from pg_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone()
    return row[0] if row else None


def used(folder: Path) -> int:
    """Bytes of a file system of its own."""
    facts = os.statvfs(folder)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


class Watcher:
    """Looks each second, in a thread: what drains after an outage is bounded too, and the walsender lives through it."""

    def __init__(self, site: Site, seen: Watch, disk: Path | None) -> None:
        self.site, self.seen, self.disk = site, seen, disk
        self.is_away = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self.seen.must(not self._thread.is_alive(), "the watch does not end")

    def _run(self) -> None:
        try:
            with self.site.stack.postgres.connect(self.site.database) as own:
                while not self._stop.wait(1):
                    self._look(own)
        except Exception as error:
            self.seen.must(False, f"the watch ended: {error!r}")

    def _look(self, own: psycopg.Connection[tuple]) -> None:
        agent, seen = self.site.agent, self.seen
        agent.running().require_running()
        metrics, is_ready, is_away = agent.metrics(), agent.http("/readyz")[0] == 200, self.is_away
        seen.peak_memory = max(seen.peak_memory, peak_memory(agent.running().pid))
        seen.peak_spool = max(seen.peak_spool, int(metrics.get("sluice_spool_bytes", 0)))
        seen.walsenders.add(walsender(self.site, own))
        if self.disk is not None:
            seen.peak_disk = max(seen.peak_disk, used(self.disk))
        if is_away:
            seen.samples += 1
            seen.paused += metrics.get("sluice_sink_paused", 0) > 0
            seen.not_ready += not is_ready
        else:
            seen.after += bool(seen.last)

    def outage(self) -> None:
        """While the server is gone."""
        agent = self.site.agent
        self.seen.first, self.is_away = shown(agent), True
        until = time.monotonic() + self.seen.seconds
        while time.monotonic() < until:
            agent.running().require_running()
            time.sleep(1)
        self.is_away, self.seen.last = False, shown(agent)


@contextmanager
def small_disk(lab: Lab) -> Iterator[Path]:
    """A file system of a few MiB: only root can make one."""
    place = lab.folder("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "sluice-spool", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def outage(world: World, what: str, seconds: float, rate: float, away: Callable[[], None], back: Callable[[], None],
           disk: Path | None = None) -> Watch:
    changes: dict[str, Any] = {"limits": {"spool": f"{SPOOL >> 20}MiB"}, "s3": {"rotate": {"bytes": "16MiB", "age": "10s"}},
                               "kafka": {"transaction": {"timeout": "60s"}, "split": {"age": "45s"}}}
    if disk is not None:
        changes = merge(changes, {"limits": {"spool": "1GiB", "spool_dir": str(disk)}})
    site = world.site(changes)
    site.init().run()
    seen = Watch(what, seconds)
    with Watcher(site, seen, disk) as watcher:
        with site.workload(rate=rate, large_every=200, large_rows=2000):
            time.sleep(5)
            away()
            try:
                watcher.outage()
            finally:
                back()
            time.sleep(5)
        began = time.monotonic()
        wait_until("all is in objects", lambda: site.agent.metrics().get('sluice_lag_bytes{step="s3"}', MIB) < MIB // 4, 600)
        seen.drained_seconds = time.monotonic() - began
        verdict = site.auditor.verdict(timeout=600)
        seen.verdict = verdict.line()
        seen.must(verdict.clean, verdict.report())
    seen.must(seen.samples * 4 >= seconds and seen.after > 0, f"{seen.samples} looks in {seconds:.0f} s, and {seen.after} behind them")
    seen.must(len(seen.walsenders) == 1 and None not in seen.walsenders, f"the replication connection did not live: {seen.walsenders}")
    seen.must(0 < seen.peak_memory <= MEMORY, f"memory {seen.peak_memory:,} over {MEMORY:,}")
    seen.must(seen.peak_spool <= SPOOL, f"spool {seen.peak_spool:,} over {SPOOL:,}")
    seen.must(disk is None or 0 < seen.peak_disk <= DISK, f"disk {seen.peak_disk:,}")
    code = site.agent.stop()
    seen.must(code == 0, f"SIGTERM: exit {code}")
    site.close()
    return seen


def broker(world: World, seconds: float, rate: float) -> Watch:
    seen = outage(world, "broker gone", seconds, rate, world.kafka.kill, lambda: (world.kafka.start(timeout=180), None)[1])
    seen.must(seen.last["lag of kafka"] > seen.first["lag of kafka"], "the lag did not grow")
    seen.must(seen.last["sluice_errors_total"] > seen.first["sluice_errors_total"], "no failure was counted")
    return seen


def store(world: World, seconds: float, rate: float) -> Watch:
    server = world.stack.store
    seen = outage(world, "store gone", seconds, rate, server.kill, lambda: (server.start(), None)[1])
    _store_said_so(seen)
    return seen


def spool(world: World, seconds: float, rate: float) -> Watch:
    """The store is gone too: or nothing would stay on the disk."""
    server = world.stack.store
    with small_disk(world.stack.lab) as disk:
        seen = outage(world, f"disk of the spool full ({DISK >> 20} MiB) and store gone", seconds, rate, server.kill,
                      lambda: (server.start(), None)[1], disk)
    _store_said_so(seen)
    seen.must(seen.last["sluice_sink_spool_failures_total"] > 0, "the disk was never full")
    return seen


def _store_said_so(seen: Watch) -> None:
    seen.must(seen.last["sluice_retries_total"] > seen.first["sluice_retries_total"], "no attempt was counted")
    seen.must(seen.last["sluice_sink_lag_records"] > seen.first["sluice_sink_lag_records"], "the sink's lag did not grow")
    seen.must(seen.last["lag of kafka"] < 16 * MIB, "Kafka fell behind though only the store was gone")
    seen.must(seen.not_ready > 0, "the agent said that it was ready")


OUTAGES: dict[str, Callable[[World, float, float], Watch]] = {"broker": broker, "store": store, "spool": spool}


def main() -> int:
    options = argparse.ArgumentParser(prog="ops/campaign/outage", description=__doc__)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--rate", type=float, default=60, help="transactions a second")
    options.add_argument("--what", default=",".join(OUTAGES), help="broker, store, spool")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    found: list[Watch] = []
    with Lab("sluice-outage-") as lab:
        world = World(Choice(15, "2.0", 1), lab)
        for what in chosen.what.split(","):
            found.append(OUTAGES[what](world, chosen.seconds, chosen.rate))
            print(found[-1].line(), flush=True)
        world.close()
        if chosen.json is not None:
            chosen.json.write_text(json.dumps([{**vars(seen), "walsenders": len(seen.walsenders)} for seen in found], indent=1) + "\n")
        lab.keep = any(seen.wrong for seen in found)
        return 1 if lab.keep else 0


if __name__ == "__main__":
    sys.exit(main())
