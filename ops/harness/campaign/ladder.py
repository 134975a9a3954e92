"""C4 at any moment: what the slot may forget is in Kafka. A thread looks again and again, the slot first and Kafka then."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from ..agent import confirmed
from ..oracle.source import format_lsn, parse_lsn
from ..oracle.topics import read_progress
from ..processes import NotReady
from ..site import Site

_PAUSE = 0.1  # seconds between two looks


class Ladder:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.looks = 0
        self.failed: Counter[str] = Counter()  # looks that were told nothing, by what was the matter
        self.finding: str | None = None
        self._slot, self._name, self._topic = site.agent.slot, site.agent.name, site.agent.progress_topic
        self._stored = 0
        self._silent = 0  # looks in a row that were told nothing
        self._connection: psycopg.Connection[tuple] | None = None
        self._consumer: Consumer | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="ladder")

    def start(self) -> Ladder:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(60)
        if self._thread.is_alive():
            raise NotReady("the look at the ladder does not end")

    def unseen(self, least: int) -> list[str]:
        """What it had to look at and did not: one that only ever fails finds nothing either."""
        if self.looks >= least:
            return []
        why = "; ".join(f"{count} x {what}" for what, count in self.failed.most_common(5)) or "no look failed"
        return [f"only {self.looks} looks at the ladder, of {least} at least: {why}"]

    def _run(self) -> None:
        try:
            while not self._stop.wait(_PAUSE) and self.finding is None:
                try:
                    self._look()
                except (psycopg.Error, KafkaException, NotReady, TimeoutError) as error:  # a server is away, by a fault of the campaign
                    self.failed[f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:160]] += 1
        except BaseException as error:
            self.finding = f"the look at the ladder failed: {error!r}"
        finally:
            self._close()

    def _look(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = self.site.stack.postgres.connect(self.site.database)
        mark = confirmed(self._connection, self._slot)
        if mark is None:
            raise NotReady("no slot, or none that has confirmed anything")
        if mark > self._stored:
            self._follow(mark)
        if mark > self._stored:
            # What was committed can be read when its marker is written, and a fault may hold that up. Then one that reads all of the
            # topic has the last word.
            if not self._is_settled():
                raise NotReady("something in the progress topic stays undecided")
            found = read_progress(self.site.stack.kafka.brokers, self._name)
            self._stored = max([self._stored, *(position.lsn for position in found)])
            if mark > self._stored:
                self.finding = f"the slot had confirmed {format_lsn(mark)}, and Kafka's position, read after that, was {format_lsn(self._stored)}"
        self.looks += 1

    def _is_settled(self) -> bool:
        """Whether, at some moment within a while, all in the topic was decided and marked."""
        admin, partition = self.site.stack.kafka.admin(), TopicPartition(self._topic, 0)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not self._stop.is_set():
            ends = [admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=level, request_timeout=5)[partition].result(6).offset
                    for level in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED)]
            if ends[1] >= ends[0]:
                return True
            time.sleep(0.05)
        return False

    def _follow(self, mark: int) -> None:
        """Reads on until the position is there, or there is no more to read."""
        if self._consumer is None:
            self._consumer = Consumer({
                "bootstrap.servers": self.site.stack.kafka.brokers, "group.id": f"ladder-{uuid.uuid4()}", "enable.auto.commit": False,
                "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "error",
                "allow.auto.create.topics": False, "fetch.wait.max.ms": 50, "log_level": 0})
            self._consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        ended = 0
        # The first end may be of a fetch that is older than the mark.
        while self._stored < mark and ended < 2:
            message = self._consumer.poll(2)
            if message is None:
                # An end is told once. No answer is none; nothing at all for a while is an end, and what reads all of the topic comes then.
                self._silent += 1
                if self._silent < 3:
                    raise NotReady("no answer")
                return
            self._silent = 0
            if message.error() is None:
                self._take(message.key(), message.value())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended += 1
            else:
                raise KafkaException(message.error())

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        if value is not None and key == self._name.encode():
            self._stored = max(self._stored, parse_lsn(json.loads(value).get("lsn") or "0/0"))

    def _close(self) -> None:
        with suppress(Exception):
            if self._connection is not None:
                self._connection.close()
        with suppress(Exception):
            if self._consumer is not None:
                self._consumer.close()
