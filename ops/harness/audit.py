"""Gathers what the oracle needs from live servers, waits until the agent has caught up, and judges."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from .oracle import borders as kafka_borders
from .oracle.checks import Expectation, judge
from .oracle.hour_checks import Sealing
from .oracle.objects import (
    Listed, StoredManifest, StoredObject, in_topics, is_manifest, list_names, list_objects, look_at, manifest, plain_metadata, read_bucket,
    read_folder, read_manifests, topic_and_hour,
)
from .oracle.store_checks import hour_of
from .oracle.source import Table, Transaction, create_slot, partitions, published, read_slot, shapes
from .oracle.topics import Partition, Record, read_progress, read_topics
from .oracle.verdict import Verdict
from .processes import NotReady, wait_until
from .agent import Agent
from .source_clock import SourceClock, is_late
from .stores import Access


@dataclass
class Lake:
    """Where objects are: a bucket and prefix, or a folder."""

    access: Access | None = None
    bucket: str = ""
    prefix: str = ""
    folder: Path | None = None

    def read(self, topics: Iterable[str]) -> list[StoredObject]:
        if self.folder is not None:
            return read_folder(self.folder, topics)
        return read_bucket(self.client(), self.bucket, self.prefix, topics)

    def ends(self, topics: Iterable[str]) -> dict[Partition, int]:
        """Where the last object of each partition ends, by its metadata; asks for no more than those."""
        wanted = frozenset(topics)
        if self.folder is not None:
            names: Iterable[str] = (str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())
        else:
            names = list_names(self.client(), self.bucket, self.prefix)
        last: dict[Partition, tuple[int, str]] = {}
        for name in names:
            if in_topics(name, wanted):
                topic, partition, start = name.rsplit("/", 1)[-1].split(".json")[0].rsplit("+", 2)
                where = (topic, int(partition))
                last[where] = max(last.get(where, (-1, "")), (int(start), name))
        return {where: int(self._metadata(name).get("end", "-1")) for where, (_, name) in last.items()}

    def _metadata(self, name: str) -> dict[str, str]:
        if self.folder is not None:
            path = self.folder / name
            return plain_metadata(json.loads(path.with_name(f".{path.name}.meta").read_text()))
        head = self.client().head_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}" if self.prefix else name)
        return plain_metadata(head["Metadata"])

    def manifests(self, topics: Iterable[str]) -> list[StoredManifest]:
        if self.folder is None:
            return read_manifests(self.client(), self.bucket, self.prefix, topics)
        names = (str(path.relative_to(self.folder)) for path in self.folder.rglob("_manifest*"))
        wanted = frozenset(topics)
        return [manifest(name, (self.folder / name).read_bytes()) for name in names if is_manifest(name, wanted)]

    def client(self) -> Any:
        if self.access is None:
            raise LookupError("this lake is a folder")
        return self.access.client()

    def listing(self, topics: Iterable[str], manifests: bool = False) -> Mapping[str, Listed]:
        """The data objects, or the manifests too, that are there now: none may ever change."""
        wanted = frozenset(topics)
        if self.folder is not None:
            there = {str(path.relative_to(self.folder)): look_at(path) for path in self.folder.rglob("*") if path.is_file()}
        else:
            there = list_objects(self.client(), self.bucket, self.prefix)
        return {name: listed for name, listed in there.items()
                if listed.etag and (in_topics(name, wanted) or (manifests and is_manifest(name, wanted)))}


class NothingCommitted(RuntimeError):
    """A truth without a change: whatever was compared with it would be right."""


@dataclass
class Auditor:
    """One database's truth: make it before the load, ask it after."""

    connection: psycopg.Connection[tuple]  # kept open for reading the slot; made anew by `reconnect` after a crash
    tables: list[Table]
    agent: Agent
    brokers: str
    broker_data: list[Path]  # none: borders cannot be checked
    lake: Lake | None = None
    slot: str = "oracle"
    listings: list[Mapping[str, Listed]] = field(default_factory=list)
    clock: SourceClock | None = None  # none: hours are not judged

    def __post_init__(self) -> None:
        create_slot(self.connection, self.slot)

    @property
    def topics(self) -> list[str]:
        return [self.agent.topic(table) for table in self.tables]

    def committed(self) -> list[Transaction]:
        return published(read_slot(self.connection, self.slot), self.tables, partitions(self.connection))

    def glance(self) -> None:
        """Remembers the objects that are there now."""
        if self.lake is not None:
            self.listings.append(self.lake.listing(self.topics, manifests=self.clock is not None))

    def wait_kafka(self, timeout: float = 90, may_be_empty: bool = False) -> list[Transaction]:
        """Until the agent's position has passed the last committed change."""
        source = self.committed()
        if source:
            self.agent.wait_stored(source[-1].end_lsn, timeout, self.brokers)
        elif not may_be_empty:
            raise NothingCommitted(f"slot {self.slot} knows of no change of {len(self.tables)} tables: there is nothing to wait for, nor to judge")
        return source

    def wait_objects(self, records: Mapping[Partition, list[Record]], timeout: float = 90) -> None:
        """Until the last record of every partition is in an object."""
        last = {partition: found[-1].offset for partition, found in records.items() if found}

        def written() -> bool:
            assert self.lake is not None
            ends = self.lake.ends(self.topics)
            return all(ends.get(partition, -1) >= offset for partition, offset in last.items())
        wait_until(f"the sink has written all records (log: {self.agent.log})", written, timeout, pause=0.5)

    def wait_sealed(self, until: str, timeout: float = 60) -> None:
        """Until every hour before `until` is sealed with all its objects, or there was time enough: what is not is the oracle's to say."""
        def sealed() -> bool:
            assert self.lake is not None
            last: dict[tuple[str, str], StoredManifest] = {}
            for one in sorted(self.lake.manifests(self.topics), key=lambda one: one.revision):
                last[(one.topic, one.hour)] = one
            wanted = frozenset(self.topics)
            for name in list_names(self.lake.client(), self.lake.bucket, self.lake.prefix):
                if in_topics(name, wanted) and (where := topic_and_hour(name))[1] < until:
                    if where not in last or json.dumps(name).encode() not in last[where].body:
                        return False
            return True
        with suppress(NotReady):
            wait_until("the hours are sealed", sealed, timeout, pause=1)

    def _sealing(self, source: list[Transaction]) -> Sealing | None:
        """The last commit's hour may go on; those before it have passed."""
        if self.clock is None or self.lake is None or self.lake.folder is not None:
            return None
        until = hour_of(max((transaction.commit_us for transaction in source), default=0))
        return Sealing(self.clock.grace_us, until, is_late)

    def verdict(self, *, timeout: float = 90, objects: bool = True, envelope: str = "debezium", tombstones: bool = True) -> Verdict:
        """Waits for the agent and its sink, then compares. Only while nothing is written to the database."""
        source = self.wait_kafka(timeout)
        records = read_topics(self.brokers, self.topics)
        held, manifests, sealing = None, None, None
        if objects and self.lake is not None:
            self.wait_objects(records, timeout)
            self.glance()
            looked = time.monotonic()
            sealing = self._sealing(source)
            if sealing is not None:
                self.wait_sealed(sealing.until)
            # What is written again with the same bytes is known by its time alone, which a store may tell in whole seconds.
            time.sleep(max(0, looked + 1.1 - time.monotonic()))
            if sealing is not None:
                manifests = self.lake.manifests(self.topics)
            held = self.lake.read(self.topics)
        # Before the borders: an idle position may follow at any time.
        progress = read_progress(self.brokers, self.agent.name)
        where = None
        if self.broker_data:
            partitions = [*records, (self.agent.progress_topic, 0)]
            where = kafka_borders.read_borders(self.broker_data, f"sluice.{self.agent.name}", partitions)
        how = Expectation(shapes(self.connection, self.tables), self.agent.topic, envelope, tombstones)
        return judge(source, records, how, borders=where, progress=progress,
                     progress_topic=self.agent.progress_topic, objects=held, earlier=self.listings,
                     manifests=manifests, sealing=sealing)
