"""`python -m harness.bench.streaming`: see ops/bench/streaming."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec

from ..agent import REPOSITORY, Agent
from ..kafka import Kafka, kafka_home
from ..postgres import Postgres, debian_bin
from ..processes import Lab
from .__main__ import LOAD, TABLE
from .measure import cpu_seconds, peak_bytes

SMALL = "create table public.small (id bigint primary key, v text)"
MARK = ("<!-- streaming: written by ops/bench/streaming -->", "<!-- end of streaming -->")


@dataclass
class Large:
    """One large transaction: seconds, bytes."""

    protocol: int
    work_mem: str
    rows: int
    pace: int  # rows a second that the writer writes; 0: as fast as the server takes them
    insert: float  # from BEGIN to before COMMIT
    latency: float  # from COMMIT returned to all rows visible under read_committed
    behind: float  # the same, of a small transaction that is committed right behind it
    agent_cpu: float
    server_cpu: float  # of the walsender
    peak: int
    spool: int
    spilled: int
    streamed: int


@dataclass
class Small:
    protocol: int
    rate: int
    p50: float
    p99: float
    agent_cpu: float


class Visible:
    """What a read_committed reader may read: the last stable offset, asked for without reading."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self.admin = kafka.admin()
        self.partition = TopicPartition(topic, 0)

    def end(self) -> int:
        asked = self.admin.list_offsets({self.partition: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED)
        return asked[self.partition].result(20).offset

    def wait(self, end: int, timeout: float = 300) -> float:
        deadline = time.monotonic() + timeout
        while self.end() < end:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.partition.topic} did not reach {end}")
            time.sleep(0.002)
        return time.monotonic()


class Spool(threading.Thread):
    """The most bytes that the agent's disk holds, by its own metric."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(daemon=True)
        self.agent, self.most, self.over = agent, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            try:
                self.most = max(self.most, int(self.agent.metrics().get("sluice_streaming_spool_bytes", 0)))
            except (OSError, ValueError):
                continue


class Bench:
    def __init__(self, lab: Lab) -> None:
        home = kafka_home()
        if home is None:
            raise SystemExit("bench: KAFKA_HOME, or ../shared/kafka beside the checkout, is needed")
        self.lab = lab
        self.postgres = Postgres(lab.folder("postgres"), debian_bin(), "postgres").create().start()
        self.postgres.create_database("bench")
        self.kafka = Kafka(home, lab.folder("kafka")).create().start()
        self.connection = self.postgres.connect("bench")
        for statement in (TABLE, SMALL, "alter table public.bench owner to sluice", "alter table public.small owner to sluice"):
            self.connection.execute(statement)
        self.next_id = 0

    def agent(self, name: str, protocol: int, work_mem: str) -> Agent:
        """A fresh one, with a slot from now."""
        folder = self.lab.folder(name)
        agent = Agent(folder, {
            "name": name,
            "postgres": {"url": self.postgres.agent_socket_url("bench") + f" options='-c logical_decoding_work_mem={work_mem}'",
                         "tables": ["public.bench", "public.small"], "streaming": "on" if protocol == 2 else "off"},
            "kafka": {"brokers": self.kafka.brokers, "replication_factor": 1, "client": {"compression.codec": "lz4"}},
            "s3": {"url": f"file://{folder}/lake"},
            "limits": {"spool_dir": str(folder)},
        })
        agent.must("init")
        agent.start("--only", "stream").wait_ready()
        return agent

    def drop(self, agent: Agent) -> None:
        agent.stop()
        agent.must("drop")

    def stats(self, agent: Agent) -> tuple[int, int, int]:
        row = self.connection.execute(
            "select s.active_pid, t.spill_bytes, t.stream_bytes from pg_replication_slots s join pg_stat_replication_slots t using (slot_name)"
            " where slot_name = %s", (agent.slot,)).fetchone()
        assert row is not None
        return row

    def large(self, agent: Agent, protocol: int, work_mem: str, rows: int, pace: int = 0) -> Large:
        visible, behind = Visible(self.kafka, agent.topic(("public", "bench"))), Visible(self.kafka, agent.topic(("public", "small")))
        before, before_small = visible.end(), behind.end()
        walsender, spilled, streamed = self.stats(agent)
        pid = agent.running().pid
        cpu, server = cpu_seconds(pid), cpu_seconds(walsender)
        spool = Spool(agent)
        spool.start()
        began = time.monotonic()
        with self.postgres.connect("bench", autocommit=False) as writer:
            # As a batch writes: piece by piece, in one transaction.
            for first in range(self.next_id + 1, self.next_id + rows + 1, 10_000):
                writer.execute(LOAD, (first, min(first + 9_999, self.next_id + rows)))
                if pace:
                    time.sleep(max(0.0, began + (first - self.next_id + 9_999) / pace - time.monotonic()))
            inserted = time.monotonic()
            writer.commit()
            committed = time.monotonic()
        self.connection.execute("insert into public.small values (%s, 'behind')", (self.next_id + 1,))
        small = time.monotonic()
        self.next_id += rows
        seen = visible.wait(before + rows)
        seen_small = behind.wait(before_small + 1)
        spool.over.set()
        spool.join()
        cost = (cpu_seconds(pid) - cpu, cpu_seconds(walsender) - server)
        time.sleep(0.6)  # the server's counters come a moment later
        _, spilled_after, streamed_after = self.stats(agent)
        return Large(protocol, work_mem, rows, pace, inserted - began, seen - committed, seen_small - small, cost[0], cost[1], peak_bytes(pid),
                     spool.most, spilled_after - spilled, streamed_after - streamed)

    def small(self, agent: Agent, protocol: int, rate: int = 300, seconds: float = 8) -> Small:
        """Transactions of one row, one after the other at a rate: from COMMIT returned to read by a read_committed consumer."""
        consumer = Consumer({"bootstrap.servers": self.kafka.brokers, "group.id": f"bench-{agent.name}", "isolation.level": "read_committed",
                             "enable.auto.commit": False, "fetch.wait.max.ms": 10})
        topic = agent.topic(("public", "small"))
        consumer.assign([TopicPartition(topic, 0, Visible(self.kafka, topic).end())])
        committed: dict[bytes, float] = {}
        seen: dict[bytes, float] = {}
        total = int(rate * seconds)

        def read() -> None:
            deadline = time.monotonic() + seconds + 30
            while len(seen) < total and time.monotonic() < deadline:
                record = consumer.poll(0.1)
                if record is not None and record.error() is None:
                    seen[record.key() or b""] = time.monotonic()
        consumer.poll(0.5)
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        pid = agent.running().pid
        cpu, due = cpu_seconds(pid), time.monotonic()
        for _ in range(total):
            self.next_id += 1
            self.connection.execute("insert into public.small values (%s, 'small')", (self.next_id,))
            committed[f'{{"id":{self.next_id}}}'.encode()] = time.monotonic()
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
        reader.join()
        consumer.close()
        if len(seen) != total:
            raise RuntimeError(f"{len(seen)} of {total} small transactions were seen")
        times = sorted(seen[key] - committed[key] for key in seen)
        return Small(protocol, rate, times[len(times) // 2], times[len(times) * 99 // 100], cpu_seconds(pid) - cpu)


def table(large: list[Large], small: list[Small]) -> str:
    lines = ["| rows | written at | `logical_decoding_work_mem` | protocol | COMMIT to all visible, s | the next transaction, s | agent CPU s | walsender CPU s"
             " | agent's peak MB | agent's disk MB | server's spill MB | streamed MB |", "|" + "---|" * 12]
    for key in sorted({(one.rows, one.pace, one.work_mem, one.protocol) for one in large}, key=lambda k: (k[0], k[2], k[1], k[3])):
        runs = [one for one in large if (one.rows, one.pace, one.work_mem, one.protocol) == key]

        def middle(name: str, runs: list[Large] = runs) -> float:
            return statistics.median(getattr(one, name) for one in runs)
        spread = f"{min(one.latency for one in runs):.2f}-{max(one.latency for one in runs):.2f}"
        speed = f"{key[1]:,}/s" if key[1] else "full speed"
        lines.append(f"| {key[0]:,} | {speed} | {key[2]} | {key[3]} | **{middle('latency'):.2f}** ({spread}) | {middle('behind'):.2f} | {middle('agent_cpu'):.2f}"
                     f" | {middle('server_cpu'):.2f} | {middle('peak') / 1e6:.0f} | {middle('spool') / 1e6:.0f} | {middle('spilled') / 1e6:.0f}"
                     f" | {middle('streamed') / 1e6:.0f} |")
    lines += ["", "| small transactions | protocol | p50, ms | p99, ms | agent CPU s |", "|---|---|---|---|---|"]
    for protocol in (1, 2):
        runs_small = [one for one in small if one.protocol == protocol]
        lines.append(f"| {runs_small[0].rate}/s | {protocol} | {statistics.median(one.p50 for one in runs_small) * 1000:.1f}"
                     f" | {statistics.median(one.p99 for one in runs_small) * 1000:.1f} | {statistics.median(one.agent_cpu for one in runs_small):.2f} |")
    return "\n".join(lines)


def write(large: list[Large], small: list[Small], facts: dict[str, str]) -> None:
    folder = REPOSITORY / "ops" / "bench"
    (folder / "streaming.json").write_text(json.dumps(
        {"facts": facts, "large": [asdict(one) for one in large], "small": [asdict(one) for one in small]}, indent=1) + "\n")
    page = folder / "README.md"
    text = page.read_text()
    section = f"{MARK[0]}\n{', '.join(f'{name}: {value}' for name, value in facts.items())}. Medians, in brackets least and most.\n\n{table(large, small)}\n{MARK[1]}"
    if MARK[0] in text:
        head, rest = text.split(MARK[0], 1)
        page.write_text(head + section + rest.split(MARK[1], 1)[1])
    else:
        page.write_text(text.rstrip() + "\n\n" + section + "\n")


def main() -> None:
    options = argparse.ArgumentParser(description="Measures protocol 1 against protocol 2.")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--rows", default="10000,100000,1000000", help="at full speed")
    options.add_argument("--paced", default="100000,1000000", help="at --pace, as a client writes row by row")
    options.add_argument("--pace", type=int, default=50_000)
    options.add_argument("--work-mem", default="64MB,4MB")
    chosen = options.parse_args()
    large: list[Large] = []
    small: list[Small] = []
    with Lab("sluice-bench-") as lab:
        bench = Bench(lab)
        for number in range(chosen.rounds):
            for work_mem in chosen.work_mem.split(","):
                # Which comes first alternates.
                for protocol in ((1, 2), (2, 1))[number % 2]:
                    agent = bench.agent(f"r{number}p{protocol}m{work_mem.lower()}", protocol, work_mem)
                    bench.small(agent, protocol, seconds=1)  # makes the topics, and warms all up
                    bench.large(agent, protocol, work_mem, 1000)
                    is_first = work_mem == chosen.work_mem.split(",")[0]
                    if is_first:
                        small.append(bench.small(agent, protocol))
                        print(f"round {number + 1}: {small[-1]}", flush=True)
                    runs = [(int(rows), 0) for rows in chosen.rows.split(",") if rows]
                    runs += [(int(rows), chosen.pace) for rows in chosen.paced.split(",") if rows]
                    # With less memory only what is not streamed with more is of interest.
                    for rows, pace in [run for run in runs if is_first or run[0] < 1_000_000]:
                        large.append(bench.large(agent, protocol, work_mem, rows, pace))
                        print(f"round {number + 1}: {large[-1]}", flush=True)
                    bench.drop(agent)
        facts = {"when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors",
                 "rounds": str(chosen.rounds), "PostgreSQL": "15, unix socket", "Kafka": "one broker, lz4"}
        write(large, small, facts)
        print(table(large, small))


if __name__ == "__main__":
    main()
