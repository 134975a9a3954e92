"""The sink from a full topic to objects, beside bare librdkafka clients on the same topic."""

from __future__ import annotations

import json
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from ...agent import Agent
from ...processes import Process
from ...stores import Moto, S3Proxy, Store, s3proxy_home
from ..measure import Run, cpu_seconds, peak_bytes, summary, until
from ..servers import Servers, build

COMPRESSIONS = ("none", "lz4", "gzip")
BUCKET = "bench"


def run(servers: Servers) -> dict[str, Any]:
    agent = servers.full_topic()
    topic = agent.topic(("public", "bench"))
    close_the_hour(servers, topic)
    programs = {name: build(name, servers.lab.folder("peers")) for name in ("produce", "consume")}
    servers.kafka.create_topic("bench.produced")
    store: Store = S3Proxy(servers.lab.root / "store") if s3proxy_home() is not None else Moto(servers.lab.root / "store")
    store.start().create_bucket(BUCKET)
    runs: dict[str, list[Run]] = {}

    def bare(name: str, *arguments: str) -> None:
        process = Process(name, [str(programs[arguments[0]]), servers.kafka.brokers, *arguments[1:]], servers.lab.folder("peers") / f"{name}.log").start()
        if process.wait(300):
            raise RuntimeError(f"{name} failed\n{process.tail()}")
        answer = json.loads(process.tail(1))
        runs.setdefault(name, []).append(
            Run(answer["records"], answer["seconds"], answer["cpu"], answer["peak"], answer["records"] / answer["seconds"]))

    for number in range(servers.options.rounds):
        bare("producer", "produce", topic, "bench.produced", str(servers.options.rows), "50000")
        bare("consumer", "consume", topic)
        bare("consumer that looks up the header", "consume", topic, "header")
        for compression in COMPRESSIONS[:: 1 if number % 2 == 0 else -1]:
            runs.setdefault(f"file {compression}", []).append(sink(servers, agent, compression, None))
            if number == 0 and compression != "none":
                runs.setdefault(f"S3 {compression}", []).append(sink(servers, agent, compression, store))
        print(f"  round {number + 1}: " + ", ".join(f"{name} {found[-1].rate:,.0f}/s {found[-1].cpu / found[-1].rows * 1e6:.2f} CPU s"
                                                     for name, found in runs.items()), flush=True)
    store.stop()
    servers.kafka.delete_topics(["bench.produced"])
    return {"rows": servers.options.rows, "store": store.name, "subjects": {name: summary(found) for name, found in runs.items()}}


def close_the_hour(servers: Servers, topic: str) -> None:
    """One record more, of a later hour: at it the sink ends the object before, and does not wait for that object's age."""
    consumer = Consumer({"bootstrap.servers": servers.kafka.brokers, "group.id": "bench-last", "enable.auto.commit": False, "enable.partition.eof": True})
    _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
    # The last offsets are the marks of transactions.
    consumer.assign([TopicPartition(topic, 0, max(0, high - 200))])
    last = None
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            break
        last = message
    consumer.close()
    if last is None:
        raise RuntimeError(f"no record at the end of {topic}")
    epoch, high_half, low_half, _, at = dict(last.headers())["sluice.pos"].decode().split("/")
    position = f"{epoch}/{high_half}/{int(low_half, 16) + 4096:X}/1/{int(at) + 2 * 3_600_000_000}"
    producer = Producer({"bootstrap.servers": servers.kafka.brokers})
    producer.produce(topic, key=last.key(), value=last.value(), headers=[("sluice.pos", position.encode())], partition=0)
    if producer.flush(20):
        raise RuntimeError("the record of the next hour was not taken")


def sink(servers: Servers, agent: Agent, compression: str, store: Store | None) -> Run:
    """From the assignment of the partition, by the agent's own log, until all records of the hour are in objects: each object was fsynced, or answered
    for by S3. The look at the store and the first fetch are in it; joining the group is not, as it is not in the consumer's. It is in the CPU seconds."""
    prefix = f"lake-{compression}-{time.monotonic_ns()}"
    if store is None:
        folder = Path(agent.folder) / prefix
        folder.mkdir()
        target: dict[str, Any] = {"url": f"file://{folder}"}
    else:
        target = {"url": f"s3://{BUCKET}/{prefix}", "endpoint": store.access.endpoint, "region": "us-east-1", "path_style": True,
                  "access_key_id": store.access.access_key, "secret_access_key": store.access.secret}
    agent.settings["s3"] = {**target, "compression": compression}
    agent.write()
    forget_group(servers, f"sluice.{agent.name}")
    seen = agent.log.stat().st_size
    agent.start("--only", "sink")
    objects = 'sluice_object_records_total{topic="' + agent.topic(("public", "bench")) + '"}'

    def stored() -> bool:
        agent.running().require_running()
        try:
            return agent.metrics().get(objects, 0) >= servers.options.rows
        except OSError:
            return False  # it does not listen yet
    now = until("all records are in objects", stored)
    began = now - (time.time() - assigned_at(agent, seen))
    pid = agent.running().pid
    done = Run(servers.options.rows, now - began, cpu_seconds(pid), peak_bytes(pid), servers.options.rows / (now - began))
    agent.stop()
    if store is None:
        shutil.rmtree(folder)
    return done


def assigned_at(agent: Agent, seen: int) -> float:
    """When the last partitions were assigned, in seconds since 1970, by what was logged after `seen` bytes."""
    lines = [line for line in agent.log.read_bytes()[seen:].decode().splitlines() if "partitions are assigned" in line]
    if not lines:
        raise RuntimeError(f"no assignment in {agent.log}")
    return datetime.fromisoformat(lines[-1].split()[0].replace("Z", "+00:00")).timestamp()


def forget_group(servers: Servers, group: str) -> None:
    """So that each run reads the topic from its beginning."""
    admin = servers.kafka.admin()
    if any(one.group_id == group for one in admin.list_consumer_groups().result().valid):
        admin.delete_consumer_groups([group])[group].result(30)
