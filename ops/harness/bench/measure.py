"""Runs one program to its goal and says what it took, by the kernel's own accounts."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..processes import Process

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One run of one subject."""

    rows: int
    seconds: float
    cpu: float  # seconds, all threads, from the start of the process on
    peak: int  # resident bytes
    rate: float  # rows a second: see `Start` for which seconds and which rows

    @property
    def facts(self) -> dict[str, float]:
        return {"rows_per_second": round(self.rate), "cpu_seconds_per_million": round(self.cpu / self.rows * 1e6, 3),
                "peak_megabytes": round(self.peak / 1e6, 1), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Start:
    """When a subject began to read, and how much of the WAL had been sent to it by then.

    A walsender fills the socket's buffers from the moment of START_REPLICATION, also while its reader is still busy elsewhere. What was sent
    before the clock started is left out of the rows that count, for every subject alike.
    """

    at: float
    sent: int  # the walsender's position

    def rate(self, rows: int, first: int, end: int, now: float) -> float:
        """Rows a second, of `rows` between the positions `first` and `end`."""
        share = (end - min(max(self.sent, first), end)) / (end - first)
        return rows * share / (now - self.at)


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def summary(runs: list[Run]) -> dict[str, Any]:
    """The middle of several runs, and each of them."""
    facts = [run.facts for run in runs]
    return {**{name: round(median(one[name] for one in facts), 3) for name in facts[0]}, "peak_megabytes": max(one["peak_megabytes"] for one in facts),
            "runs": [asdict(run) for run in runs]}


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _cpu(entry: Path) -> float:
    """CPU seconds of a process or thread, by its folder in /proc."""
    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def cpu_seconds(pid: int) -> float:
    return _cpu(Path(f"/proc/{pid}"))


def compile_seconds(pid: int) -> float:
    """CPU seconds that a Java process has taken to compile its own code."""
    return sum(_cpu(task) for task in Path(f"/proc/{pid}/task").iterdir() if (task / "comm").read_text().startswith(("C1 Compiler", "C2 Compiler")))


def peak_bytes(pid: int) -> int:
    """VmHWM: what `getrusage` says is that of the process which forked this one, where that was larger."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def end_of(process: Process, look: Callable[[], None] = lambda: None, timeout: float = 900) -> tuple[float, int]:
    """Waits for a program that ends by itself: CPU seconds by wait4, and the peak as last seen."""
    peak, deadline = 0, time.monotonic() + timeout
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        look()
        try:
            peak = max(peak, peak_bytes(process.pid))
        except (FileNotFoundError, StopIteration):
            pass  # it has just ended
        if time.monotonic() > deadline:
            raise TimeoutError(f"{process.name} does not end")
        time.sleep(0.01)
    if process.handle is not None:
        process.handle.returncode = os.waitstatus_to_exitcode(status)
    if code := process.wait(1):
        raise RuntimeError(f"{process.name}: exit {code}\n{process.tail()}")
    return usage.ru_utime + usage.ru_stime, peak


def until(what: str, done: Callable[[], bool], pause: float = 0.02, timeout: float = 900) -> float:
    """Waits for a goal; the time at which it was seen. A look that is slow is taken less often."""
    began = time.monotonic()
    while True:
        before = time.monotonic()
        if done():
            return time.monotonic()
        now = time.monotonic()
        if now - began > timeout:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        time.sleep(max(pause, 5 * (now - before)))
