"""kill -9 of the active agent to rows flowing again from its hot standby."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from ...agent import Agent
from ...postgres import AGENT_ROLE
from ...processes import wait_until
from ..measure import median
from ..servers import DATABASE, Servers

TAKEOVERS = 5


def run(servers: Servers) -> dict[str, Any]:
    servers.connection.execute("create table if not exists public.beat (id bigint primary key, v text)")
    servers.connection.execute(f"alter table public.beat owner to {AGENT_ROLE}")
    active = servers.agent("pair", ["public.beat"])
    waiting = active.twin("standby")
    servers.launch(active, "--only", "stream")
    waiting.start("--only", "stream")
    wait_standby(waiting)
    over = threading.Event()
    committed: list[tuple[int, float]] = []

    def write() -> None:
        number = 0
        with servers.postgres.connect(DATABASE) as connection:
            while not over.is_set():
                number += 1
                connection.execute("insert into public.beat values (%s, 'beat')", (number,))
                committed.append((number, time.monotonic()))
                time.sleep(0.01)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    topic = active.topic(("public", "beat"))
    wait_until("the topic is there", lambda: topic in servers.kafka.topics(), 30)
    consumer = Consumer({"bootstrap.servers": servers.kafka.brokers, "group.id": "bench-standby", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "fetch.wait.max.ms": 50})
    consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
    times = []
    for _ in range(TAKEOVERS):
        settle = time.monotonic() + 2
        while time.monotonic() < settle:
            consumer.poll(0.05)
        active.kill()
        killed = time.monotonic()
        after = len(committed)
        # The first row that was committed after the kill: a row before it may have been under way.
        while True:
            message = consumer.poll(0.05)
            if message is not None and message.error() is None and json.loads(message.key())["id"] > after:
                break
            if time.monotonic() - killed > 90:
                raise TimeoutError(f"no row after the kill (logs: {active.log}, {waiting.log})")
        times.append(time.monotonic() - killed)
        active, waiting = waiting, active
        waiting.start("--only", "stream")
        wait_standby(waiting)
    over.set()
    writer.join()
    consumer.close()
    waiting.stop()
    active.stop()
    servers.drop(agents=(active,))
    print(f"  take-overs: {', '.join(f'{one:.2f} s' for one in times)}", flush=True)
    return {"takeovers": TAKEOVERS, "seconds": [round(one, 3) for one in times], "median": round(median(times), 3), "max": round(max(times), 3)}


def wait_standby(agent: Agent) -> None:
    def waits() -> bool:
        agent.running().require_running()
        return agent.http("/readyz") == (503, "standby\n")
    wait_until(f"{agent.label} is a standby (log: {agent.log})", waits, 60, pause=0.05)
