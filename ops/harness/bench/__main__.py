"""`python -m harness.bench`: see ops/bench/run."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from ..agent import REPOSITORY, Agent, binary
from ..kafka import Kafka, kafka_home
from ..postgres import Postgres, debian_bin
from ..processes import Lab, Process, kill_all
from . import report
from .measure import Cost, Series, peak_bytes, until

TABLE = """
create table public.bench (id bigint primary key, a numeric, b numeric, c numeric, d numeric, e numeric, f numeric,
    day date not null, due date not null, kind text not null, at timestamptz not null)"""
# One transaction of a thousand rows: about 190 bytes a row on the wire.
LOAD = """
insert into public.bench
select i, (i %% 97) + 0.25, (i %% 89) + 0.125, 1000 + (i %% 1013) * 1.01, 990 + (i %% 1009) * 1.01, 980.5 + i %% 997, (i %% 31) / 7.0,
       date '2005-01-01' + (i %% 7000)::int, date '2030-01-01' + (i %% 300)::int, 'Tesouro IPCA+ ' || i %% 40, timestamptz '2026-01-01' + i * interval '1 second'
  from generate_series(%s::bigint, %s::bigint) i"""


class Bench:
    def __init__(self, lab: Lab, rows: int, rounds: int) -> None:
        self.lab, self.rows, self.rounds = lab, rows, rounds
        home = kafka_home()
        if home is None:
            raise SystemExit("bench: KAFKA_HOME, or ../shared/kafka beside the checkout, is needed")
        self.postgres = Postgres(lab.folder("postgres"), debian_bin(), "postgres").create().start()
        self.postgres.create_database("bench")
        self.kafka = Kafka(home, lab.folder("kafka")).create().start()
        self.connection = self.postgres.connect("bench")
        self.connection.execute(TABLE)
        self.connection.execute("alter table public.bench owner to sluice")
        self.agents: dict[str, Agent] = {}
        self.end = 0

    def agent(self, name: str, url: str, compression: str = "lz4") -> Agent:
        folder = self.lab.folder(name)
        agent = Agent(folder, {
            "name": name,
            "postgres": {"url": url, "tables": ["public.bench"]},
            "kafka": {"brokers": self.kafka.brokers, "replication_factor": 1},
            "s3": {"url": f"file://{folder}/lake", "compression": compression},
            "limits": {"spool_dir": str(folder)},
            "http": f"127.0.0.1:{20000 + len(self.agents) + 7000}",
        })
        (folder / "lake").mkdir()
        agent.write()
        agent.must("init")
        self.agents[name] = agent
        return agent

    def prepare(self) -> None:
        """Every subject has a slot from before the load, and reads the same WAL."""
        for number in range(self.rounds):
            self.agent(f"tcp{number}", self.postgres.agent_url("bench"))
            self.agent(f"socket{number}", self.postgres.agent_socket_url("bench"))
            for where in ("tcp", "socket"):
                self.connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (f"plain_{where}{number}",))
        self.connection.execute("select pg_create_logical_replication_slot('debezium', 'pgoutput')")
        for first in range(1, self.rows + 1, 1000):
            self.connection.execute(LOAD, (first, min(first + 999, self.rows)))
        self.connection.execute("checkpoint")
        row = self.connection.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
        self.end = int(row[0]) if row else 0

    def plain(self, number: int, socket: bool) -> Cost:
        """pg_recvlogical to /dev/null."""
        slot = f"plain_{'socket' if socket else 'tcp'}{number}"
        log = self.lab.folder(slot) / "log"
        end = f"{self.end >> 32:X}/{self.end & 0xFFFFFFFF:X}"
        process = Process(slot, [
            str(debian_bin() / "pg_recvlogical"), "-d", self.postgres.conninfo("bench", socket=socket), "--slot", slot, "--start", "-f", "/dev/null",
            "--no-loop", "--status-interval=1", f"--endpos={end}", "-o", "proto_version=1", "-o", "publication_names=sluice_tcp0"], log)
        began = time.monotonic()
        process.start()
        children_before = _children_cpu()
        peak = 0
        while process.running:
            try:
                peak = max(peak, peak_bytes(process.pid))
            except (FileNotFoundError, StopIteration):
                pass
            time.sleep(0.02)
        process.handle.wait() if process.handle else None
        return Cost(time.monotonic() - began, _children_cpu() - children_before, peak)

    def stream(self, name: str) -> Cost:
        """From the moment that the agent streams until everything is committed in Kafka. Its start is not in it: it has to find the
        brokers and fence whoever was there before, which takes a second or two whatever the backlog."""
        agent = self.agents[name]
        agent.start("--only", "stream")
        agent.wait_ready()
        began = time.monotonic()
        pid = agent.running().pid

        def done() -> bool:
            try:
                stored = (agent.status().get("source") or {}).get("stored_lsn")
            except (OSError, ValueError, RuntimeError, subprocess.SubprocessError):
                return False
            return stored is not None and _lsn(stored) >= self.end

        cost = until(pid, began, done)
        agent.stop()
        return cost

    def sink(self, name: str, compression: str) -> Cost:
        """From the start of the process until everything is in objects: the age of an object is short, so that its end counts."""
        agent = self.agents[name]
        agent.settings["s3"] = {"url": f"file://{agent.folder}/lake-{compression}", "compression": compression, "rotate": {"age": "2s", "bytes": "128MiB"}}
        (agent.folder / f"lake-{compression}").mkdir()
        agent.write()
        began = time.monotonic()
        agent.start("--only", "sink")

        def done() -> bool:
            try:
                return agent.metrics().get('sluice_object_records_total{topic="' + agent.topic(("public", "bench")) + '"}', 0) >= self.rows
            except (OSError, ValueError):
                return False

        cost = until(agent.running().pid, began, done)
        agent.stop()
        return cost

    def debezium(self, folder: Path) -> Cost:
        done = subprocess.run(["python3", str(folder / "measure.py"), "--dsn", self.postgres.conninfo("bench"), "--publication", "sluice_tcp0", "--slot", "debezium",
                               "--bootstrap", self.kafka.brokers], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"  debezium: {answer}", flush=True)
        return Cost(self.rows / float(answer["rows_per_s"]), float(answer["cpu_s_per_million"]) * self.rows / 1e6, int(float(answer["peak_rss_mb"]) * 1e6))


def _children_cpu() -> float:
    import resource
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _lsn(text: str) -> int:
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def main() -> None:
    options = argparse.ArgumentParser(description="Measures sluice beside pg_recvlogical and Debezium.")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--debezium", type=Path, help="the folder of a measure.py that runs Debezium over a slot's backlog")
    chosen = options.parse_args()
    lab = Lab()
    try:
        bench = Bench(lab, chosen.rows, chosen.rounds)
        print(f"loading {chosen.rows:,} rows", flush=True)
        bench.prepare()
        plain_tcp, plain_socket = Series("pg_recvlogical, TCP", chosen.rows), Series("pg_recvlogical, unix socket", chosen.rows)
        tcp, socket = Series("sluice to Kafka, TCP", chosen.rows), Series("sluice to Kafka, unix socket", chosen.rows)
        series = [plain_tcp, tcp, plain_socket, socket]
        for number in range(chosen.rounds):
            plain_tcp.costs.append(bench.plain(number, socket=False))
            tcp.costs.append(bench.stream(f"tcp{number}"))
            plain_socket.costs.append(bench.plain(number, socket=True))
            socket.costs.append(bench.stream(f"socket{number}"))
            print(f"round {number + 1}: " + ", ".join(f"{one.name} {one.rows / one.costs[-1].seconds:,.0f}/s {one.costs[-1].cpu:.2f} CPU s" for one in series), flush=True)
        for compression in ("none", "lz4", "gzip"):
            one = Series(f"sluice sink to a directory, {compression}", chosen.rows)
            one.costs.append(bench.sink("tcp0", compression) if compression == "none" else bench.sink({"lz4": "socket0", "gzip": f"tcp{chosen.rounds - 1}"}[compression], compression))
            series.append(one)
        if chosen.debezium:
            one = Series("Debezium on Connect, exactly once", chosen.rows)
            one.costs.append(bench.debezium(chosen.debezium))
            series.append(one)
        facts = {"when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": f"{platform.machine()}, {_processors()} processors",
                 "binary": str(binary().relative_to(REPOSITORY)), "rows": f"{chosen.rows:,} in transactions of 1,000", "rounds": str(chosen.rounds)}
        report.write(REPOSITORY / "ops" / "bench", series, plain_tcp, facts)
        print(report.table(series, plain_tcp))
    finally:
        kill_all()
        lab.close()


def _processors() -> int:
    import os
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
