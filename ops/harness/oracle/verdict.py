"""What the oracle found: counts, and each fault by its kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

KAFKA = {
    "lost": "a committed change that no reader sees",
    "twice": "a change that a reader sees more than once",
    "never committed": "a record that no committed change explains",
    "torn": "a PostgreSQL transaction in more than one Kafka transaction, or in an aborted one",
    "out of order": "a record before one that was committed earlier",
    "wrong": "a record whose key, value, partition or header is not what PostgreSQL says",
    "position": "a stored position that does not fit the rows of its Kafka transaction",
}
S3 = {
    "lost": "a record that no object holds",
    "twice": "a record that is held more than once",
    "gaps": "ranges of a partition that overlap, or leave a record between them",
    "misplaced": "a record in an object of another hour",
    "damaged": "an object that differs from its metadata, or from Kafka",
    "rewritten": "an object that changed after it was there",
    "manifest": "a manifest that says other than what the objects are",
    "sealed early": "a row that was in Kafka when its hour had passed, and that the hour's first manifest does not have",
    "unsealed": "an object or a row of an hour that has passed, and that its last manifest does not have",
}
HOURS = frozenset({"manifest", "sealed early", "unsealed"})


@dataclass(slots=True)
class Faults:
    """Every fault is counted; the first of each kind are described."""

    kinds: dict[str, str]
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str) -> None:
        if kind not in self.kinds:
            raise KeyError(kind)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        known = self.examples.setdefault(kind, [])
        if len(known) < 5:
            known.append(example)

    def __getitem__(self, kind: str) -> int:
        return self.counts.get(kind, 0)

    def line(self, unchecked: frozenset[str] = frozenset()) -> str:
        return ", ".join(f"{kind} not checked" if kind in unchecked else f"{self[kind]:,} {kind}" for kind in self.kinds)


@dataclass(slots=True)
class Verdict:
    transactions: int = 0
    changes: int = 0
    kinds_of_changes: Counter[str] = field(default_factory=Counter)
    kafka_records: int = 0
    kafka_transactions: int | None = None  # none: the broker's files were not at hand, borders not checked
    aborted_transactions: int = 0
    forgotten: int = 0  # batches whose transaction the brokers ended without a marker in their partition
    repeated: int = 0  # records that were written again to end such a transaction: known by what they follow
    objects: int | None = None
    lines: int = 0
    hours: int | None = None  # that are sealed; none: not checked
    manifests: int = 0
    in_time: int = 0  # records that an hour's first manifest had to have
    resealed: int = 0  # manifests of a later revision: rows came late
    kafka: Faults = field(default_factory=lambda: Faults(KAFKA))
    s3: Faults = field(default_factory=lambda: Faults(S3))

    @property
    def clean(self) -> bool:
        return not self.kafka.counts and not self.s3.counts

    @property
    def kinds(self) -> set[str]:
        return {f"kafka: {kind}" for kind in self.kafka.counts} | {f"s3: {kind}" for kind in self.s3.counts}

    def line(self) -> str:
        """One line for people and logs."""
        unchecked = frozenset({"torn", "position"} if self.kafka_transactions is None else ())
        where = "" if self.kafka_transactions is None else (
            f" in {self.kafka_transactions:,} Kafka transactions (and {self.aborted_transactions:,} aborted)")
        if self.forgotten:
            where += f", {self.forgotten:,} batches forgotten by the coordinator and {self.repeated:,} records repeated for it"
        text = (f"oracle: PostgreSQL committed {self.changes:,} changes in {self.transactions:,} transactions"
                f" | Kafka: {self.kafka_records:,} records{where}: {self.kafka.line(unchecked)}")
        if self.objects is not None:
            text += f" | S3: {self.lines:,} lines in {self.objects:,} objects: {self.s3.line(HOURS if self.hours is None else frozenset())}"
        if self.hours is not None:
            text += f" | hours seen: {self.hours:,}, in {self.manifests:,} manifests ({self.resealed:,} of a later revision), {self.in_time:,} records in time"
        return text

    def report(self) -> str:
        """The line, and below it what each fault is."""
        parts = [self.line()]
        for place, faults in (("Kafka", self.kafka), ("S3", self.s3)):
            for kind, examples in faults.examples.items():
                parts.append(f"  {place}, {kind} ({faults.kinds[kind]}): {faults[kind]:,}")
                parts += [f"    {example}" for example in examples]
        return "\n".join(parts)
