"""Apache Kafka on 127.0.0.1, one node or three, that can be killed, stopped and started again on the same data."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from .certificates import make_certificate
from .processes import Process, free_port, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
KAFKA_USER = "sluice"
KAFKA_PASSWORD = "pw-4Jd8wqTz-kafka"


def kafka_home() -> Path | None:
    """`KAFKA_HOME`, else the copy that lies beside the checkout, else none."""
    named = os.environ.get("KAFKA_HOME")
    candidates = [Path(named)] if named else [REPOSITORY.parent / "shared" / "kafka"]
    for home in candidates:
        if (home / "bin" / "kafka-server-start.sh").exists():
            return home
    return None


class Node:
    """One broker and controller."""

    def __init__(self, home: Path, root: Path, number: int) -> None:
        self.home = home
        self.root = root
        self.number = number
        self.port = free_port()
        self.controller_port = free_port()
        self.front: tuple[int, int] | None = None  # a second listener: its port, and the port that clients are told
        self.back: tuple[int, int] | None = None  # brokers among themselves: their port, and the port that they are told
        self.secure_port: int | None = None  # of a listener for clients that show a password, over TLS
        self.process: Process | None = None
        root.mkdir(parents=True)

    @property
    def data(self) -> Path:
        return self.root / "data"

    def start(self) -> None:
        heap = os.environ.get("KAFKA_HEAP_OPTS", "-Xms256m -Xmx512m")
        self.process = Process(
            f"kafka-{self.number}", [str(self.home / "bin" / "kafka-server-start.sh"), str(self.root / "server.properties")],
            self.root / "server.log", env={"LOG_DIR": str(self.root), "KAFKA_HEAP_OPTS": heap},
        ).start()

    def running(self) -> Process:
        if self.process is None:
            raise RuntimeError(f"kafka-{self.number} was never started")
        return self.process


class Kafka:
    """A cluster. `kill`, `pause`, `resume`, `start` take the node's index."""

    # Whether a client's look at a topic makes it (trap 63): Kafka's own default, which shows who looks carelessly; ours is the one that breaks nothing.
    creates_topics = False

    def __init__(self, home: Path, root: Path, nodes: int = 1, overrides: dict[str, str] | None = None, secure: bool = False,
                 creates_topics: bool | None = None) -> None:
        if creates_topics is not None:
            self.creates_topics = creates_topics
        self.home = home
        self.root = root
        self.nodes = [Node(home, root / f"node-{n}", n) for n in range(1, nodes + 1)]
        self.overrides = overrides or {}
        for node in self.nodes if secure else []:
            node.secure_port = free_port()

    @property
    def brokers(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def agent_brokers(self) -> str:
        """What agents are given: the addresses in front of the nodes, where there are such."""
        return ",".join(f"127.0.0.1:{node.front[1] if node.front else node.port}" for node in self.nodes)

    @property
    def secure_brokers(self) -> str:
        """The listeners that want `KAFKA_USER` and `KAFKA_PASSWORD` over TLS by `authority`."""
        return ",".join(f"127.0.0.1:{node.secure_port}" for node in self.nodes)

    @property
    def authority(self) -> Path:
        return self.root / "authority.pem"

    @property
    def data_folders(self) -> list[Path]:
        return [node.data for node in self.nodes]

    def _properties(self, node: Node) -> str:
        copies = str(len(self.nodes))
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": ",".join(f"127.0.0.1:{n.controller_port}" for n in self.nodes),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(node.data),
            "num.partitions": "1",
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": str(max(1, len(self.nodes) - 1)),
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": str(self.creates_topics).lower(),
            # A broker that was killed may register again only when its old session is over.
            "broker.session.timeout.ms": "6000",
            "broker.heartbeat.interval.ms": "1000",
            **self.overrides,
        }
        for name, ports in (("FRONT", node.front), ("BACK", node.back)):
            if ports is not None:
                settings["listeners"] += f",{name}://127.0.0.1:{ports[0]}"
                settings["advertised.listeners"] += f",{name}://127.0.0.1:{ports[1]}"
                settings["listener.security.protocol.map"] += f",{name}:PLAINTEXT"
        if node.secure_port is not None:
            settings["listeners"] += f",SECURE://127.0.0.1:{node.secure_port}"
            settings["advertised.listeners"] += f",SECURE://127.0.0.1:{node.secure_port}"
            settings["listener.security.protocol.map"] += ",SECURE:SASL_SSL"
            settings["listener.name.secure.sasl.enabled.mechanisms"] = "SCRAM-SHA-512,PLAIN"
            security = "org.apache.kafka.common.security"
            settings["listener.name.secure.scram-sha-512.sasl.jaas.config"] = f"{security}.scram.ScramLoginModule required;"
            settings["listener.name.secure.plain.sasl.jaas.config"] = (
                f'{security}.plain.PlainLoginModule required user_{KAFKA_USER}="{KAFKA_PASSWORD}";')
            settings["listener.name.secure.ssl.keystore.type"] = "PEM"
            settings["listener.name.secure.ssl.keystore.location"] = str(self.root / "keystore.pem")
        if node.front is not None or node.back is not None:
            settings["inter.broker.listener.name"] = "PLAINTEXT" if node.back is None else "BACK"
        return "".join(f"{key}={value}\n" for key, value in settings.items())

    def create(self) -> Kafka:
        """Formats the storage of every node."""
        storage = str(self.home / "bin" / "kafka-storage.sh")
        fresh = {"LOG_DIR": str(self.root), "KAFKA_HEAP_OPTS": "-Xmx128m -XX:TieredStopAtLevel=1"}

        def run(*arguments: str) -> str:
            done = subprocess.run([storage, *arguments], env={**os.environ, **fresh}, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"kafka-storage.sh {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
            return done.stdout.strip().splitlines()[-1]

        cluster = run("random-uuid")
        voters = "--standalone"
        if len(self.nodes) > 1:
            voters = "--initial-controllers=" + ",".join(
                f"{node.number}@127.0.0.1:{node.controller_port}:{run('random-uuid')}" for node in self.nodes)
        users: list[str] = []
        if any(node.secure_port is not None for node in self.nodes):
            make_certificate(self.root)
            (self.root / "keystore.pem").write_text((self.root / "server.key").read_text() + (self.root / "server.pem").read_text())
            users = ["--add-scram", f"SCRAM-SHA-512=[name={KAFKA_USER},password={KAFKA_PASSWORD}]"]
        for node in self.nodes:
            file = node.root / "server.properties"
            file.write_text(self._properties(node))
            run("format", "-t", cluster, "-c", str(file), voters, *users)
        return self

    def start(self, index: int | None = None, timeout: float = 90) -> Kafka:
        for node in self.nodes if index is None else [self.nodes[index]]:
            if node.process is None or not node.process.running:
                node.start()
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout: float = 60) -> None:
        """All nodes that run are in the metadata, and topics can be looked up."""
        alive = [node for node in self.nodes if node.process is not None and node.process.running]

        def answers() -> bool:
            for node in alive:
                node.running().require_running()
            # A client of its own each time: one that was told of no broker at all, by a node that is fenced still, may not ask again for minutes.
            return {node.number for node in alive} <= set(self.admin().list_topics(timeout=5).brokers)
        wait_until(f"Kafka answers (log: {self.nodes[0].root / 'server.log'})", answers, timeout, pause=0.1)

    def kill(self, index: int = 0) -> None:
        self.nodes[index].running().kill()

    def pause(self, index: int = 0) -> None:
        """SIGSTOP: a broker that hangs but holds its connections."""
        self.nodes[index].running().send(signal.SIGSTOP)

    def resume(self, index: int = 0) -> None:
        self.nodes[index].running().send(signal.SIGCONT)

    def stop(self) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.process.stop(timeout=20)

    # Topics

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def topics(self) -> set[str]:
        return set(self.admin().list_topics(timeout=10).topics)

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> None:
        topic = NewTopic(name, partitions, len(self.nodes), config={k.replace("_", "."): v for k, v in config.items()})
        admin = self.admin()  # held until the answer is here
        admin.create_topics([topic])[name].result(20)

    def set_topic(self, topic: str, name: str, value: str) -> None:
        """Sets one of a topic's settings."""
        admin = self.admin()
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(20)

    def delete_topics(self, names: list[str]) -> None:
        admin = self.admin()
        for done in admin.delete_topics(names).values() if names else []:
            try:
                done.result(20)
            except KafkaException:
                pass  # a topic that is gone is what was asked for
