"""The servers of one run, the agents on them, and how pg_recvlogical and sluice are each timed."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..agent import REPOSITORY, Agent
from ..kafka import Kafka, kafka_home
from ..postgres import AGENT_ROLE, Postgres, debian_bin
from ..processes import Lab, Process, wait_until
from . import ways
from .load import LOAD, TABLE
from .measure import Run, Start, compile_seconds, cpu_seconds, end_of, peak_bytes, until

# A broker that has just started compiles its code on the processors that are measured: it is given work until a pass costs it less than this.
COMPILES = 0.3  # CPU seconds
WARM_UPS = 8  # at most
PEERS = REPOSITORY / "ops" / "bench" / "peers"
DATABASE = "bench"


@dataclass(frozen=True)
class Options:
    rows: int
    rounds: int
    scale: float
    debezium: Path | None


@dataclass
class Stretch:
    """WAL that several subjects read, each by a slot of its own at the same position."""

    publication: str
    rows: int
    first: int = 0
    end: int = 0


@dataclass
class Servers:
    lab: Lab
    options: Options
    agents: dict[str, Agent] = field(default_factory=dict)
    _backlog: Stretch | None = None
    _full: Agent | None = None
    _warm: bool = False

    def __post_init__(self) -> None:
        home = kafka_home()
        if home is None:
            raise SystemExit("bench: KAFKA_HOME, or ../shared/kafka beside the checkout, is needed")
        self.postgres = Postgres(self.lab.folder("postgres"), debian_bin(), "postgres").create().start()
        self.postgres.create_database(DATABASE)
        self.kafka = Kafka(home, self.lab.folder("kafka")).create().start()
        self.connection = self.postgres.connect(DATABASE)

    # Agents and slots

    def agent(self, name: str, tables: list[str], socket: bool = False, changes: Mapping[str, Any] | None = None, init: bool = True) -> Agent:
        folder = self.lab.folder(name)
        url = self.postgres.agent_socket_url(DATABASE) if socket else self.postgres.agent_url(DATABASE)
        settings: dict[str, Any] = {
            "name": name, "postgres": {"url": url, "tables": tables}, "kafka": {"brokers": self.kafka.brokers, "replication_factor": 1},
            "s3": {"url": f"file://{folder}/lake", "compression": "lz4"}, "limits": {"spool_dir": str(folder)}}
        for section, more in (changes or {}).items():
            settings[section] = {**settings.get(section, {}), **more}
        agent = Agent(folder, settings)
        (folder / "lake").mkdir(exist_ok=True)
        if init:
            agent.must("init", timeout=300)
        self.agents[name] = agent
        return agent

    def copy_slot(self, agent: Agent, slot: str) -> None:
        """A slot at exactly the agent's position."""
        self.connection.execute("select pg_copy_logical_replication_slot(%s, %s)", (agent.slot, slot))

    def drop(self, *slots: str, agents: tuple[Agent, ...] = ()) -> None:
        for slot in slots:
            self.connection.execute("select pg_drop_replication_slot(%s)", (slot,))
        for agent in agents:
            agent.must("drop")

    def position(self) -> int:
        row = self.connection.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        return int(row[0]) if row else 0

    # The table that most parts read

    def backlog(self) -> Stretch:
        """Every subject has a slot from before the load, at one position."""
        if self._backlog is not None:
            return self._backlog
        rows, rounds = self.options.rows, self.options.rounds
        print(f"loading {rows:,} rows in transactions of 1,000", flush=True)
        self.connection.execute(TABLE)
        self.connection.execute(f"alter table public.bench owner to {AGENT_ROLE}")
        counted = [f"{way}{number}" for number in range(rounds) for way in ways.measured()]
        for name in [*counted, *(f"warm{number}" for number in range(WARM_UPS)), "steady"]:
            agent = self.agent(name, ["public.bench"], socket=not name.startswith("tcp"), changes={"s3": {"rotate": {"age": "5s"}}})
            if name in counted:
                self.copy_slot(agent, f"plain_{name}")
        self.copy_slot(agent, "recording")
        if self.options.debezium is not None:
            self.copy_slot(agent, "debezium")
        stretch = Stretch("sluice_tcp0", rows, self.position())
        for first in range(1, rows + 1, 1000):
            self.connection.execute(LOAD, (first, min(first + 999, rows)))
        stretch.end = self.position()
        self.connection.execute("checkpoint")
        self._backlog = stretch
        return stretch

    def warm(self) -> None:
        """Streams the backlog until the broker has compiled what that takes."""
        if self._warm:
            return
        self._warm = True
        stretch = self.backlog()
        print("warming the broker up", flush=True)
        broker = self.kafka.nodes[0].running().pid
        for number in range(WARM_UPS):
            before = compile_seconds(broker)
            self.stream(self.agents[f"warm{number}"], stretch)
            spent = compile_seconds(broker) - before
            print(f"  the broker compiled for {spent:.1f} s", flush=True)
            if number > 0 and spent < COMPILES:
                break

    def full_topic(self) -> Agent:
        """An agent whose topic holds the whole backlog."""
        if self._full is None:
            stretch = self.backlog()
            self._full = self.agents["tcp0"]
            if self._full.starts == 0:
                self.stream(self._full, stretch)
        return self._full

    # The two subjects

    def _sent(self, slot: str) -> tuple[int, int] | None:
        """The walsender that holds a slot: its process, and how far it has sent."""
        row = self.connection.execute(
            "select r.pid, (r.sent_lsn - '0/0'::pg_lsn)::bigint from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid"
            " where slot_name = %s", (slot,)).fetchone()
        return (row[0], row[1] or 0) if row else None

    def plain(self, slot: str, stretch: Stretch, socket: bool = False) -> Run:
        """pg_recvlogical to /dev/null, from the moment that it holds its slot until it has ended at the last position."""
        end = f"{stretch.end >> 32:X}/{stretch.end & 0xFFFFFFFF:X}"
        process = Process(slot, [
            str(debian_bin() / "pg_recvlogical"), "-d", self.postgres.conninfo(DATABASE, socket=socket), "--slot", slot, "--start", "-f", "/dev/null",
            "--no-loop", "--status-interval=1", f"--endpos={end}", "-o", "proto_version=1", "-o", f"publication_names={stretch.publication}"],
            self.lab.folder("plain") / f"{slot}.log")
        started: list[Start] = []

        def look() -> None:
            if not started and (found := self._sent(slot)):
                started.append(Start(time.monotonic(), found[1]))
        launched = time.monotonic()
        process.start()
        cpu, peak = end_of(process, look)
        now = time.monotonic()
        start = started[0] if started else Start(launched, stretch.first)
        return Run(stretch.rows, now - start.at, cpu, peak, start.rate(stretch.rows, stretch.first, stretch.end, now))

    def stream(self, agent: Agent, stretch: Stretch, half: str | None = "stream") -> Run:
        """sluice, from the moment that it says `streaming` until the last row's Kafka transaction is committed, as the agent itself counts it:
        after the commit has returned. Its start is not in it (it fences whoever was there before), but it is in the CPU seconds. With both halves
        it is left running."""
        self.launch(agent, *(("--only", half) if half else ()))
        found = self._sent(agent.slot)
        start = Start(time.monotonic(), found[1] if found else stretch.first)
        # A look costs the processors that are measured some milliseconds: seldom, until nearly all is done.
        until(f"{agent.name} has committed most", lambda: rows_committed(agent) >= stretch.rows * 0.85, pause=0.2)
        now = until(f"{agent.name} has committed all", lambda: rows_committed(agent) >= stretch.rows)
        pid = agent.running().pid
        run = Run(stretch.rows, now - start.at, cpu_seconds(pid), peak_bytes(pid), start.rate(stretch.rows, stretch.first, stretch.end, now))
        if half:
            agent.stop()
        return run

    def launch(self, agent: Agent, *arguments: str) -> None:
        """Starts an agent, and returns as soon as it streams."""
        agent.start(*arguments)

        def streams() -> bool:
            agent.running().require_running()
            return agent.http("/readyz")[0] == 200
        wait_until(f"{agent.name} streams (log: {agent.log})", streams, 120, pause=0.003)


def status(agent: Agent) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{agent.port}/status", timeout=10) as answer:
        return json.load(answer)


def rows_committed(agent: Agent) -> int:
    agent.running().require_running()
    return int((status(agent).get("kafka") or {}).get("rows") or 0)



def build(name: str, folder: Path) -> Path:
    """Compiles one of the C programs in ops/bench/peers."""
    program = folder / name
    if not program.exists():
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "rdkafka", "libpq"], check=True, capture_output=True, text=True).stdout.split()
        subprocess.run(["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(program), str(PEERS / f"{name}.c"), *flags, "-lpthread"], check=True)
    return program
