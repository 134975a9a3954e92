"""The agents of a round, restarted when they end as a pod would be; an end that no fault explains is a finding."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ..agent import Agent
from ..processes import NotReady
from ..site import Site
from .ladder import Ladder

# Ends that a supervisor answers with a restart: a server that could not be reached for as long as `start_timeout`.
TRANSIENT = {69}
# Lines of the log.
_STOPPED = " the sink has stopped "
_DROPPED = " dropped a record that is in an object already"


class Finding(RuntimeError):
    """Something that must not happen, with the end of the log."""


class Crew:
    """Who streams, and who sinks: `apart` (a process that streams, and two sinks) or `shared` (one that does both, and another sink
    beside it). Either way a sink that is gone has another to take its partitions."""

    def __init__(self, site: Site, layout: str, failpoints: Path | None) -> None:
        self.site = site
        self.failpoints = failpoints
        self.arguments = ["--only", "stream"] if layout == "apart" else []
        self.main = site.agent
        self.sink = site.twin("sink")  # the one that is broken
        self.second = site.twin("second") if layout == "apart" else None
        self.ladder = Ladder(site)
        self.dropped: list[str] = []  # lines of logs: records that a sink had written already
        self.restarts: Counter[str] = Counter()
        self._successors = 0
        self._read: Counter[str] = Counter()  # of each agent's log
        self._stops: dict[str, list[str]] = defaultdict(list)
        self.unavailable: Counter[str] = Counter()  # ends of processes that were seen, and answered with a restart

    def start(self) -> None:
        self.start_main()
        self.start_sink()
        if self.second is not None:
            self.start_second()
        self.ladder.start()

    @property
    def agents(self) -> list[Agent]:
        return [self.main, self.sink, *([] if self.second is None else [self.second])]

    def start_main(self, env: Mapping[str, str] | None = None) -> None:
        self._start(self.main, self.arguments, env)

    def start_sink(self, env: Mapping[str, str] | None = None) -> None:
        self._start(self.sink, ["--only", "sink"], env)

    def start_second(self) -> None:
        assert self.second is not None
        self._start(self.second, ["--only", "sink"], None)

    def _start(self, agent: Agent, arguments: list[str], env: Mapping[str, str] | None) -> None:
        self.read_logs()
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
        if self.ladder.finding is not None:
            raise Finding(self.ladder.finding)
        for agent, again in zip(self.agents, (self.start_main, self.start_sink, self.start_second)):
            process = agent.running()
            if process.running:
                continue
            code = process.wait(5)
            if code not in TRANSIENT:
                raise Finding(f"{agent.label} ended with {code}, unasked; {agent.log}:\n{process.tail(40)}")
            self.restarts[f"exit {code}"] += 1
            self.unavailable[agent.label] += 1
            again()

    def read_logs(self) -> None:
        """What the processes' ends do not tell: a sink beside a stream stops alone, and a restart would hide it."""
        for agent in self.site.agents:
            if not agent.log.exists():
                continue
            with agent.log.open("rb") as file:
                file.seek(self._read[agent.label])
                new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            self._read[agent.label] += len(new)
            for line in new.decode(errors="replace").splitlines():
                if _DROPPED in line:
                    self.dropped.append(f"{agent.label}: {line}")
                elif _STOPPED not in line:
                    continue
                elif agent in (self.sink, self.second):
                    self._stops[agent.label].append(line)  # its process ends with it: `tend` looks at that, unless it is killed before
                else:
                    raise Finding(f"the sink of {agent.label} stopped for good; {agent.log}:\n{line}")

    def unseen(self) -> list[str]:
        """Sinks in processes of their own that stopped, and whose end nobody has looked at."""
        return [f"the sink of {label} stopped more often than was seen:\n" + "\n".join(lines)
                for label, lines in self._stops.items() if len(lines) > self.unavailable[label]]

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
                    for agent in self.agents:
                        write_stacks(agent)
                tails = "\n".join(f"--- {agent.log}\n{agent.running().tail(40)}" for agent in self.agents)
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
            for agent in self.agents:
                pid, objects = agent.running().pid, total(agent, "sluice_objects_total")
                if objects > start.setdefault(pid, objects):
                    return True
            return False
        self.until("objects are written", moved, timeout)

    def wait_ready(self, timeout: float = 120) -> None:
        """All say that they are at work."""
        self.until("the agents are ready", lambda: all(agent.http("/readyz")[0] == 200 for agent in self.agents), timeout)

    def stop(self) -> list[str]:
        """SIGTERM to all; what did not end with 0."""
        wrong = []
        for agent in self.agents:
            code = agent.stop()
            if code != 0:
                wrong.append(f"{agent.label} answered SIGTERM with {code}; {agent.log}:\n{agent.running().tail(40)}")
        try:
            self.read_logs()
            wrong += self.unseen()
            self.ladder.stop()
        except (Finding, NotReady) as error:
            wrong.append(str(error))
        return wrong if self.ladder.finding is None else [*wrong, self.ladder.finding]


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
