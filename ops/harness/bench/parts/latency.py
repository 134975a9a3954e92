"""From COMMIT to visible, at small transactions, and its floor: a bare producer that begins, sends one record, commits."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from ...postgres import AGENT_ROLE
from ...processes import Process, wait_until
from ..measure import cpu_seconds, peak_bytes, percentile, until
from ..servers import DATABASE, Servers, build, rows_committed

RATE = 2000  # transactions of one row a second
CONNECTIONS = 16
FLOORS = {"floor": "20", "floor, transactions back to back": "0", "floor beside the writers": "20"}  # pauses in ms


def run(servers: Servers) -> dict[str, Any]:
    servers.warm()
    folder = servers.lab.folder("latency")
    programs = {name: build(name, servers.lab.folder("peers")) for name in ("write", "floor", "watch")}
    servers.connection.execute("create table if not exists public.small (id bigint primary key, v text)")
    servers.connection.execute(f"alter table public.small owner to {AGENT_ROLE}")
    agent = servers.agent("latency", ["public.small"], socket=True)
    servers.launch(agent, "--only", "stream")
    servers.kafka.create_topic("bench.floor")
    topic = agent.topic(("public", "small"))
    state = {"id": 1}

    def start(name: str, *arguments: str) -> Process:
        return Process(name, [str(programs[name]), *arguments], folder / f"{name}.log").start()

    def end(process: Process) -> None:
        if process.wait(120):
            raise RuntimeError(f"{process.name} failed\n{process.tail()}")

    def write(seconds: float) -> tuple[Process, Path]:
        output = folder / f"written-{state['id']}"
        process = start("write", servers.postgres.conninfo(DATABASE, socket=True), str(output), str(RATE), str(seconds), str(CONNECTIONS), str(state["id"]))
        state["id"] += int(RATE * seconds) + CONNECTIONS
        return process, output

    def send(name: str, seconds: float) -> tuple[Process, Path]:
        output = folder / f"sent-{state['id']}"
        process = start("floor", servers.kafka.brokers, "bench.floor", str(output), str(seconds), FLOORS[name], str(state["id"]))
        state["id"] += 100_000
        return process, output

    def stamps(file: Path) -> dict[int, tuple[int, int]]:
        lines = [line.split() for line in file.read_text().splitlines()]
        return {int(number): (int(first), int(second)) for number, first, second in lines}

    end(write(1)[0])  # makes the topic, and warms all up
    until("the first rows are in Kafka", lambda: rows_committed(agent) >= RATE, timeout=60)
    wait_until("the topic is there", lambda: topic in servers.kafka.topics(), 30)
    length = max(1.5, 10 * servers.options.scale)
    latencies: dict[str, list[float]] = {**{name: [] for name in FLOORS}, "sluice": []}
    rounds: list[dict[str, float]] = []
    rates, cpu = [], 0.0
    for _ in range(servers.options.rounds):
        seen_file = folder / "seen"
        log = folder / "watch.log"
        log.unlink(missing_ok=True)
        watcher = start("watch", servers.kafka.brokers, str(seen_file), topic, "bench.floor")
        wait_until("the consumer is ready", lambda: log.exists() and "ready" in log.read_text(), 30)
        outputs: dict[str, Path] = {}
        for name in ("floor", "floor, transactions back to back"):
            process, outputs[name] = send(name, length / 2)
            end(process)
        pid = agent.running().pid
        before, done = cpu_seconds(pid), rows_committed(agent)
        process, outputs["sluice"] = write(length)
        end(process)
        cpu += cpu_seconds(pid) - before
        total = len(outputs["sluice"].read_text().splitlines())
        until("the last row is in Kafka", lambda: rows_committed(agent) >= done + total, timeout=60)
        time.sleep(0.5)  # and seen by the consumer
        # The same writers, and nobody who streams: what is left of the floor while the machine does this.
        agent.stop()
        process, _ = write(length / 2)
        sender, outputs["floor beside the writers"] = send("floor beside the writers", length / 2)
        end(process)
        end(sender)
        servers.launch(agent, "--only", "stream")
        between = int(RATE * length / 2)
        until("what was written meanwhile is in Kafka", lambda: rows_committed(agent) >= between, timeout=60)
        watcher.send(signal.SIGTERM)
        end(watcher)
        seen = {int(line.split()[1]): int(line.split()[2]) for line in seen_file.read_text().splitlines()}
        of_round = {}
        for name, output in outputs.items():
            known = stamps(output)
            missing = [number for number in known if number not in seen]
            if missing:
                raise RuntimeError(f"{name}: {len(missing)} of {len(known)} were never seen")
            # A row's clock starts when its COMMIT has returned, a bare transaction's before its begin.
            times = [(seen[number] - (committed if name == "sluice" else began)) / 1e6 for number, (began, committed) in known.items()]
            latencies[name] += times
            of_round[name] = round(percentile(times, 50), 3)
            if name == "sluice":
                spent = (max(second for _, second in known.values()) - min(first for first, _ in known.values())) / 1e9
                rates.append(len(known) / spent)
        rounds.append(of_round)
        print(f"  medians in ms: {of_round}, {rates[-1]:,.0f} rows/s", flush=True)
    peak = peak_bytes(agent.running().pid)
    agent.stop()
    servers.drop(agents=(agent,))
    return {
        "rows_per_second": round(min(rates)), "connections": CONNECTIONS, "seconds": round(length * servers.options.rounds, 1),
        "cpu_seconds_per_million": round(cpu / (RATE * length * servers.options.rounds) * 1e6, 2), "peak_megabytes": round(peak / 1e6, 1), "rounds": rounds,
        "milliseconds": {name: {"p50": round(percentile(times, 50), 3), "p90": round(percentile(times, 90), 3), "p99": round(percentile(times, 99), 3),
                                "max": round(max(times), 3), "transactions": len(times),
                                "curve": [round(percentile(times, p), 3) for p in (*range(0, 100, 2), 99, 99.5, 99.9)]}
                         for name, times in latencies.items()}}
