"""How far the rows have come: asked of Kafka and S3 themselves, and the lag of the agent's own /metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, TopicPartition

from ..agent import Agent
from ..audit import Lake
from ..oracle.objects import in_topics, list_names, plain_metadata
from ..oracle.topics import partitions_of


@dataclass
class Watch:
    agent: Agent
    brokers: str
    lake: Lake
    topics: list[str]
    _consumer: Consumer | None = None
    _kafka: int = 0
    _objects: dict[str, int] = field(default_factory=dict)
    _looks: int = 0

    def look(self, written: int) -> tuple[dict[str, int], str]:
        self._looks += 1
        if self._looks % 8 == 1:
            self._look_at_lake()
        self._read()
        return {"PostgreSQL": written, "Kafka": self._kafka, "S3": sum(self._objects.values())}, self._lag()

    def _read(self) -> None:
        """Counts what a read_committed consumer has got so far (tombstones aside: this load deletes nothing)."""
        if self._consumer is None:
            self._consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": "demo-watch", "enable.auto.commit": False,
                                       "isolation.level": "read_committed", "log_level": 0})
            self._consumer.assign([TopicPartition(topic, number, 0)
                                   for topic, count in partitions_of(self.brokers, self.topics).items() for number in range(count)])
        while messages := self._consumer.consume(2000, timeout=0.02):
            for message in messages:
                if message.error() is None:
                    self._kafka += 1
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    break

    def _look_at_lake(self) -> None:
        wanted = frozenset(self.topics)
        client = self.lake.client()
        for name, etag in list_names(client, self.lake.bucket, self.lake.prefix).items():
            if name not in self._objects and etag and in_topics(name, wanted):
                head = client.head_object(Bucket=self.lake.bucket, Key=f"{self.lake.prefix}/{name}")
                self._objects[name] = int(plain_metadata(head["Metadata"]).get("records", "0"))

    def _lag(self) -> str:
        """The agent's own words, or that it does not answer (it is killed in the middle)."""
        try:
            samples = self.agent.metrics()
        except (OSError, ValueError):
            return "the agent does not answer"
        lags = {name: value for name, value in samples.items() if name.startswith("sluice_lag_seconds")}
        size = {name: value for name, value in samples.items() if name.startswith("sluice_lag_bytes")}
        memory = samples.get("sluice_process_resident_memory_bytes", 0)

        def shown(values: dict[str, float], unit: str, form: str) -> str:
            return ", ".join(f"{name.partition('{')[2].rstrip('}').replace(chr(34), '') or 'all'} {value:{form}}{unit}"
                             for name, value in values.items())
        return f"lag: {shown(lags, ' s', '.1f')}; {shown(size, ' B', ',.0f')}; resident {memory / 1e6:.0f} MB"
