"""Runs one program to its goal and says what it took, by the kernel's own accounts."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds by the clock, seconds of CPU over all threads, peak resident bytes."""

    seconds: float
    cpu: float
    peak: int


@dataclass
class Series:
    """The runs of one subject."""

    name: str
    rows: int
    costs: list[Cost] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.rows / statistics.median(cost.seconds for cost in self.costs)

    @property
    def cpu_per_million(self) -> float:
        return statistics.median(cost.cpu for cost in self.costs) / self.rows * 1e6

    @property
    def peak_megabytes(self) -> float:
        return max(cost.peak for cost in self.costs) / 1e6


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def peak_bytes(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def until(pid: int, began: float, done: Callable[[], bool], timeout: float = 600) -> Cost:
    """Waits for the goal of a running program. `began` and what it had used before count as its start."""
    cpu = cpu_seconds(pid)
    while not done():
        if time.monotonic() - began > timeout:
            raise TimeoutError("the goal was not reached")
        time.sleep(0.02)
    return Cost(time.monotonic() - began, cpu_seconds(pid) - cpu, peak_bytes(pid))
