"""The servers of a campaign, each behind a front of ours, in the versions that were asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..kafka import Kafka, kafka_home
from ..postgres import Postgres, debian_bin, wheel_bin
from ..processes import Lab, free_port, wait_until
from ..site import Site, Stack, librdkafka_folder, make_site
from ..stores import S3Proxy
from .proxy import BrokerFront, Front, Network, StoreFront

# How long the coordinator leaves a transaction open; a paused broker stays paused for longer.
TRANSACTION_TIMEOUT = 10.0

_KAFKA = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "group.min.session.timeout.ms": "1000",
    "leader.imbalance.check.interval.seconds": "5",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.enable": "false",  # the oracle reads the state of every transaction, also of old ones
}


@dataclass(frozen=True)
class Choice:
    postgres: int  # 15, 18
    librdkafka: str  # 2.0, 2.16
    brokers: int  # 1, 3

    @property
    def text(self) -> str:
        return f"PostgreSQL {self.postgres}, librdkafka {self.librdkafka}, {self.brokers} broker{'s' if self.brokers > 1 else ''}"


class World:
    def __init__(self, choice: Choice, lab: Lab, folder: str = "servers", is_marked: bool = False, clients: type[Front] = Front) -> None:
        home = kafka_home()
        if home is None:
            raise FileNotFoundError("no Apache Kafka: set KAFKA_HOME")
        os.environ.setdefault("KAFKA_HEAP_OPTS", "-Xms128m -Xmx256m" if choice.brokers > 1 else "-Xms256m -Xmx512m")
        self.choice = choice
        self.network = Network()
        root = lab.folder(folder)
        self.postgres = Postgres(root / "postgres", debian_bin() if choice.postgres == 15 else wheel_bin(), f"pg{choice.postgres}")
        self.kafka = Kafka(home, root / "kafka", choice.brokers, {**_KAFKA, **self._replicated(choice.brokers)})
        store = S3Proxy(root / "store")
        self.kafka_fronts: list[Front] = []
        for node in self.kafka.nodes:
            listens = free_port()
            front = self.network.front(listens, clients)
            node.front = (listens, front.port)
            self.kafka_fronts.append(front)
        self.markers: list[Front] = []  # by node: the way of a transaction's markers to it
        for node in self.kafka.nodes if choice.brokers == 1 or is_marked else []:
            listens = free_port()
            self.markers.append(self.network.front(listens, BrokerFront))
            node.back = (listens, self.markers[-1].port)
        self.kafka.create().start()
        store.start()
        self.postgres.create().start()
        self.postgres_front = self.network.front(self.postgres.port)
        self.postgres.front_port = self.postgres_front.port
        front = self.network.front(store.port, StoreFront)
        assert isinstance(front, StoreFront)
        self.store_front = front
        env = {} if choice.librdkafka == "2.0" else {"LD_LIBRARY_PATH": librdkafka_folder()}
        self.stack = Stack(f"pg{choice.postgres}-librdkafka{choice.librdkafka}-{choice.brokers}", lab, self.postgres, self.kafka, store, env)

    @staticmethod
    def _replicated(brokers: int) -> dict[str, str]:
        return {} if brokers == 1 else {"default.replication.factor": "3", "min.insync.replicas": "2"}

    @property
    def fronts(self) -> list[Front]:
        return [self.postgres_front, *self.kafka_fronts, self.store_front, *self.markers]

    def site(self, changes: dict[str, Any], wide: bool = False) -> Site:
        """A fresh database, topics and bucket, reached through the fronts."""
        site = make_site(self.stack, {
            "kafka": {"replication_factor": self.choice.brokers,
                      "client": {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500, "max.poll.interval.ms": 20000},
                      "transaction": {"timeout": f"{TRANSACTION_TIMEOUT:.0f}s"}, "split": {"age": "5s"}},
            "s3": {"endpoint": f"http://127.0.0.1:{self.store_front.port}", "rotate": {"bytes": "1MiB", "age": "1s"}},
            "limits": {"start_timeout": "60s"},
        }, wide=wide)
        if changes:
            from ..agent import merge
            site.agent.settings = merge(site.agent.settings, changes)
            site.agent.write()
        return site

    def heal(self) -> None:
        for front in self.fronts:
            front.heal()
        self.stack.heal()

    def wait_replicated(self, timeout: float = 120) -> None:
        """Every replica of every partition is in sync: another broker may go."""
        if len(self.kafka.nodes) == 1:
            return
        admin = self.kafka.admin()

        def in_sync() -> bool:
            found = admin.list_topics(timeout=5)
            return len(found.brokers) == len(self.kafka.nodes) and all(
                partition.leader >= 0 and len(partition.isrs) == len(partition.replicas)
                for topic in found.topics.values() for partition in topic.partitions.values())
        wait_until("all replicas are in sync", in_sync, timeout, pause=0.25)

    def leader(self, topic: str, partition: int) -> int:
        """Index of the node that leads a partition; the first where none does."""
        found = self.kafka.admin().list_topics(topic, timeout=10).topics[topic].partitions.get(partition)
        return max(0, found.leader - 1) if found is not None else 0

    def coordinator(self, name: str, topic: str) -> int:
        """Index of the node that coordinates a transactional id or a group: who leads the partition of its hash."""
        count = len(self.kafka.admin().list_topics(topic, timeout=10).topics[topic].partitions)
        code = 0
        for character in name:
            code = (31 * code + ord(character)) & 0xFFFFFFFF
        code -= (code & 0x80000000) << 1
        return self.leader(topic, (0 if code == -(1 << 31) else abs(code)) % max(1, count))

    def close(self) -> None:
        self.stack.stop()
        self.network.close()
