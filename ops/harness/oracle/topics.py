"""What a `read_committed` consumer sees: every record of the topics, to the last stable offset."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from ..processes import NotReady
from .source import micros, parse_lsn


@dataclass(frozen=True, slots=True)
class Position:
    """The header `sluice.pos`: `<epoch>/<commit LSN>/<ordinal>/<commit time in microseconds>`."""

    epoch: int
    commit_lsn: int
    ordinal: int
    commit_us: int

    @staticmethod
    def parse(text: str) -> Position:
        epoch, high, low, ordinal, micros = text.split("/")
        return Position(int(epoch), parse_lsn(f"{high}/{low}"), int(ordinal), int(micros))


@dataclass(frozen=True, slots=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    position: Position | None  # none: a record that sluice did not write
    position_text: str = ""
    split: str | None = None
    replay: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A record of the progress topic."""

    partition: int
    offset: int
    lsn: int
    state: str
    raw: str

    @property
    def split_at(self) -> int | None:
        """The commit LSN of a transaction that is partly in Kafka; none where all are whole."""
        value = json.loads(self.raw)
        return parse_lsn(value["commit_lsn"]) if value.get("ordinal", 0) > 0 else None

    @property
    def ordinal(self) -> int:
        """How far that is: its last change."""
        return int(json.loads(self.raw).get("ordinal", 0))

    @property
    def clock(self) -> int:
        """The source's, of which all that it had committed by then is in Kafka: microseconds since 1970, 0 where it says none."""
        text = json.loads(self.raw).get("clock")
        return 0 if text is None else micros(datetime.fromisoformat(text.replace("Z", "+00:00")))


Partition = tuple[str, int]


def _consumer(brokers: str) -> Consumer:
    return Consumer({
        "bootstrap.servers": brokers, "group.id": f"oracle-{uuid.uuid4()}", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "error",
        "allow.auto.create.topics": False, "fetch.wait.max.ms": 50, "log_level": 0,
    })


def partitions_of(brokers: str, topics: Iterable[str]) -> dict[str, int]:
    """Partition counts; a topic that does not exist has none."""
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    known = admin.list_topics(timeout=15).topics
    return {topic: len(known[topic].partitions) if topic in known else 0 for topic in topics}


def _messages(brokers: str, topics: Iterable[str], timeout: float):
    wanted = [TopicPartition(topic, number, OFFSET_BEGINNING)
              for topic, count in partitions_of(brokers, topics).items() for number in range(count)]
    if not wanted:
        return
    consumer = _consumer(brokers)
    try:
        consumer.assign(wanted)
        ended: set[Partition] = set()
        quiet = 0.0
        while len(ended) < len(wanted):
            batch = consumer.consume(5000, timeout=0.25)
            quiet = 0.0 if batch else quiet + 0.25
            if quiet > timeout:
                raise NotReady(f"no end of {sorted({(p.topic, p.partition) for p in wanted} - ended)} after {timeout:.0f} s of silence")
            for message in batch:
                where = (message.topic(), message.partition())
                if message.error() is None:
                    yield message
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(where)
                elif not message.error().retriable() and message.error().code() not in (
                        KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                    raise RuntimeError(f"{where}: {message.error()}")
    finally:
        consumer.close()


def read_topics(brokers: str, topics: Iterable[str], timeout: float = 30) -> dict[Partition, list[Record]]:
    """All records by partition, in offset order. Partitions without a record are there too, empty."""
    names = list(topics)
    records: dict[Partition, list[Record]] = {
        (topic, number): [] for topic, count in partitions_of(brokers, names).items() for number in range(count)}
    for message in _messages(brokers, names, timeout):
        headers = {name: (value or b"").decode() for name, value in message.headers() or []}
        text = headers.get("sluice.pos", "")
        records[(message.topic(), message.partition())].append(Record(
            message.topic(), message.partition(), message.offset(), message.key(), message.value(),
            Position.parse(text) if text else None, text, headers.get("sluice.split"), headers.get("sluice.replay")))
    return records


def read_progress(brokers: str, name: str, timeout: float = 30) -> list[Progress]:
    """The position records of the agent `name`, oldest first."""
    found = []
    for message in _messages(brokers, [f"sluice.{name}.progress"], timeout):
        if message.value() is None or message.key() != name.encode():
            continue
        raw = message.value().decode()
        value = json.loads(raw)
        lsn = value.get("lsn") or "0/0"
        found.append(Progress(message.partition(), message.offset(), parse_lsn(lsn), value["state"], raw))
    return found
