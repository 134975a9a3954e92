"""The agents of a round, restarted when they end as a pod would be; an end that no fault explains is a finding."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ..agent import Agent
from ..processes import NotReady
from ..site import Site

# Ends that a supervisor answers with a restart: a server that could not be reached for as long as `start_timeout`.
TRANSIENT = {69}


class Finding(RuntimeError):
    """Something that must not happen, with the end of the log."""


class Crew:
    """Who streams, and who sinks: `apart` (two processes) or `shared` (one that does both, and another sink beside it)."""

    def __init__(self, site: Site, layout: str, failpoints: Path | None) -> None:
        self.site = site
        self.failpoints = failpoints
        self.arguments = ["--only", "stream"] if layout == "apart" else []
        self.main = site.agent
        self.sink = site.twin("sink")
        self.restarts: Counter[str] = Counter()
        self._successors = 0

    def start(self) -> None:
        self.start_main()
        self.start_sink()

    def start_main(self, env: Mapping[str, str] | None = None) -> None:
        self._start(self.main, self.arguments, env)

    def start_sink(self, env: Mapping[str, str] | None = None) -> None:
        self._start(self.sink, ["--only", "sink"], env)

    def _start(self, agent: Agent, arguments: list[str], env: Mapping[str, str] | None) -> None:
        agent.program = self.failpoints if env else None
        agent.start(*arguments, env=env)

    def successor(self) -> Agent:
        """A second agent of the same name: waits until the slot is free."""
        self._successors += 1
        agent = self.site.twin(f"successor-{self._successors}")
        agent.start(*self.arguments)
        return agent

    def succeed(self, agent: Agent) -> None:
        self.main = agent
        self.site.agent = agent
        self.site.auditor.agent = agent

    # Watching

    def tend(self) -> None:
        """Starts again what has ended for a reason that passes."""
        for agent, again in ((self.main, self.start_main), (self.sink, self.start_sink)):
            process = agent.running()
            if process.running:
                continue
            code = process.wait(5)
            if code not in TRANSIENT:
                raise Finding(f"{agent.label} ended with {code}, unasked; {agent.log}:\n{process.tail(40)}")
            self.restarts[f"exit {code}"] += 1
            again()

    def until(self, what: str, true: Callable[[], bool], timeout: float, tending: bool = True) -> None:
        deadline = time.monotonic() + timeout
        while True:
            if tending:
                self.tend()
            try:
                if true():
                    return
            except (OSError, ValueError, LookupError):
                pass  # not listening yet
            if time.monotonic() > deadline:
                if what:
                    for agent in (self.main, self.sink):
                        write_stacks(agent)
                tails = "\n".join(f"--- {agent.log}\n{agent.running().tail(40)}" for agent in (self.main, self.sink))
                raise NotReady(f"{what}: not so after {timeout:.0f} s\n{tails}")
            time.sleep(0.03)

    # Whether rows flow

    def wait_streaming(self, timeout: float = 120) -> None:
        """Rows that were committed after this call have reached Kafka."""
        start: list[tuple[int, float]] = []

        def moved() -> bool:
            pid, rows = self.main.running().pid, total(self.main, "sluice_transactions_total")
            if not start or start[-1][0] != pid:
                start.append((pid, rows))
            return rows > start[-1][1]
        self.until("rows flow into Kafka", moved, timeout)

    def wait_sinking(self, timeout: float = 120) -> None:
        """An object has been written after this call, by whichever sink."""
        start: dict[int, float] = {}

        def moved() -> bool:
            for agent in (self.main, self.sink):
                pid, objects = agent.running().pid, total(agent, "sluice_objects_total")
                if objects > start.setdefault(pid, objects):
                    return True
            return False
        self.until("objects are written", moved, timeout)

    def wait_ready(self, timeout: float = 120) -> None:
        """Both say that they are at work."""
        for agent in (lambda: self.main), (lambda: self.sink):
            self.until("the agents are ready", lambda: agent().http("/readyz")[0] == 200, timeout)

    def stop(self) -> list[str]:
        """SIGTERM to both; what did not end with 0."""
        wrong = []
        for agent in (self.main, self.sink):
            code = agent.stop()
            if code != 0:
                wrong.append(f"{agent.label} answered SIGTERM with {code}; {agent.log}:\n{agent.running().tail(40)}")
        return wrong


def write_stacks(agent: Agent) -> None:
    """Where each thread of an agent that does not go on is, beside its log; where there is a gdb."""
    debugger = shutil.which("gdb")
    if debugger is None or not agent.running().running:
        return
    with suppress(subprocess.TimeoutExpired), agent.log.with_suffix(".stacks").open("w") as file:
        subprocess.run([debugger, "-p", str(agent.running().pid), "-batch", "-ex", "thread apply all bt 30"], stdin=subprocess.DEVNULL,
                       stdout=file, stderr=subprocess.DEVNULL, timeout=120, check=False)


def total(agent: Agent, metric: str) -> float:
    return sum(value for name, value in agent.metrics().items() if name.split("{")[0] == metric)
