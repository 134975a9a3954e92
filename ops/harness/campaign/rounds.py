"""A campaign: rounds of load and faults, each on a site of its own, each ended by the oracle's verdict."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..oracle.verdict import Verdict
from ..site import Site
from ..source_clock import GRACE
from .crew import Crew, Finding
from .faults import KINDS, Scene, deck
from .world import World


@dataclass
class Plan:
    seed: int
    faults: int
    kinds: list[str]
    check_every: int
    rate: float
    failpoints: Path | None
    minutes: float = float("inf")  # no round begins later


@dataclass
class Result:
    plan: Plan
    broken: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    verdicts: list[Verdict] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    looks: int = 0  # at the slot and the position (C4)
    seconds: float = 0

    @property
    def clean(self) -> bool:
        return not self.findings and all(verdict.clean for verdict in self.verdicts)

    def _sum(self, place: str, kind: str) -> int:
        return sum(getattr(verdict, place)[kind] for verdict in self.verdicts)

    @property
    def zeros(self) -> dict[str, int]:
        """What must not be: each of these is 0 in a clean campaign."""
        kafka, s3 = (lambda kind: self._sum("kafka", kind)), (lambda kind: self._sum("s3", kind))
        return {"lost": kafka("lost") + s3("lost"), "twice": kafka("twice") + s3("twice"), "torn": kafka("torn"),
                "out of order": kafka("out of order"), "in a wrong hour": s3("misplaced"), "gaps between objects": s3("gaps"),
                "hours not sealed as they should": s3("manifest") + s3("sealed early") + s3("unsealed"),
                "wrong or damaged": sum(kafka(kind) for kind in ("never committed", "wrong", "position")) + s3("damaged") + s3("rewritten")}

    @property
    def numbers(self) -> dict[str, int]:
        return {name: sum(getattr(verdict, name) or 0 for verdict in self.verdicts)
                for name in ("transactions", "changes", "kafka_records", "kafka_transactions", "aborted_transactions", "objects", "lines",
                             "hours", "manifests", "resealed", "in_time")}

    def line(self, where: str) -> str:
        broken = ", ".join(f"{kind} {count}" for kind, count in sorted(self.broken.items()))
        numbers = self.numbers
        return (f"campaign: seed {self.plan.seed}, {where}: {sum(self.broken.values())} faults in {self.seconds / 60:.0f} min ({broken})"
                f" | {numbers['changes']:,} rows in {numbers['transactions']:,} transactions, {numbers['kafka_records']:,} records,"
                f" {numbers['kafka_transactions']:,} Kafka transactions and {numbers['aborted_transactions']:,} aborted,"
                f" {numbers['objects']:,} objects, {numbers['hours']:,} hours in {numbers['manifests']:,} manifests, {self.looks:,} looks at the ladder |"
                f" {', '.join(f'{count:,} {kind}' for kind, count in self.zeros.items())}"
                f" | {'clean' if self.clean else f'NOT CLEAN ({len(self.findings)} findings)'}")

    def json(self, **more: Any) -> dict[str, Any]:
        return {"seed": self.plan.seed, "kinds": self.plan.kinds, "clean": self.clean, "seconds": round(self.seconds), **more,
                "faults": dict(sorted(self.broken.items())), "details": dict(sorted(self.details.items())),
                "restarts": dict(self.restarts), "looks at the ladder": self.looks, "numbers": self.numbers, "zeros": self.zeros, "findings": self.findings,
                "rounds": [verdict.line() for verdict in self.verdicts]}


# What a round's configuration may be, beside the default.
_LAYOUTS = ("apart", "shared")
_COMPRESSIONS = ("none", "gzip", "lz4")
_SPLITS = (10_000_000, 10_000_000, 1500)
_CLOCKS = ("its own", "its own", "its own", "ours")  # the source's; hours pass with its own, and are judged
_STREAMING = ("off", "on")
# Of a verdict on so many transactions, each kind must be there.
_ENOUGH = 800
# Looks at the ladder for each fault, at least: some fifty are had, also on a machine that does much else.
LOOKS = 3
_KINDS = ("insert", "update", "delete", "truncate", "message", "changed key", "unchanged value", "whole old row")


def run(world: World, plan: Plan) -> Result:
    """All of it; ends at the first thing that must not be."""
    source = random.Random(plan.seed)
    result = Result(plan)
    began = time.monotonic()
    cards = deck(plan.kinds, plan.faults, source)
    for first in range(0, len(cards), plan.check_every):
        _round(world, plan, result, cards[first : first + plan.check_every], source)
        result.seconds = time.monotonic() - began
        if not result.clean or result.seconds > plan.minutes * 60:
            break
    return result


def _round(world: World, plan: Plan, result: Result, cards: list[str], source: random.Random) -> None:
    layout, compression, split, streaming = (source.choice(_LAYOUTS), source.choice(_COMPRESSIONS), source.choice(_SPLITS),
                                             source.choice(_STREAMING))
    site = world.site({"s3": {"compression": compression, "seal_after": f"{GRACE.total_seconds():.0f}s"},
                       "kafka": {"split": {"rows": split}, "transaction": {"rows": min(split, 50_000)}},
                       "postgres": {"streaming": streaming}}, wide=True)
    # Of the large transactions the server sends, or spills, as much as can be.
    site.sql(f"alter database {site.database} set logical_decoding_work_mem = '64kB'")
    clock = source.choice(_CLOCKS)
    print(f"round {len(result.verdicts) + 1}: {len(cards)} faults, agents {layout}, {compression}, split at {split:,} rows, streaming {streaming},"
          f" the source's clock {clock}", flush=True)
    if clock == "its own":
        site.set_clock()
    site.init()
    crew = Crew(site, layout, plan.failpoints)
    scene = Scene(world, site, crew, source)
    crew.start()
    load = site.workload(seed=source.randrange(1 << 30), rate=plan.rate, connections=4, large_every=250, large_rows=2000,
                         wide=True).start()
    try:
        crew.wait_streaming()
        crew.wait_sinking()
        for number, kind in enumerate(cards):
            began = time.monotonic()
            detail = KINDS[kind].fault(scene)
            broke = time.monotonic() - began
            result.broken[kind] += 1
            if detail:
                result.details[f"{kind} {detail}"] += 1
            # The next one shall meet a system at work.
            crew.wait_streaming()
            after = KINDS[cards[number + 1]].side if number + 1 < len(cards) else ""
            if after == "sink":
                crew.wait_sinking()
            scene.pause(0, 0.5)
            crew.read_logs()
            load.check()
            if number % 10 == 5:
                site.auditor.glance()
            print(f"  {sum(result.broken.values()):4} {kind:20} {detail:28} {broke:5.1f} s, at work again after"
                  f" {time.monotonic() - began - broke:5.1f} s", flush=True)
        load.stop(120)
        crew.wait_ready()
        world.wait_replicated()
        verdict = site.auditor.verdict(timeout=240)
        result.verdicts.append(verdict)
        print(f"  {verdict.line()}", flush=True)
        if not verdict.clean:
            result.findings.append(verdict.report())
        if verdict.changes < 10 or verdict.kafka_transactions is None:
            result.findings.append("the oracle had next to nothing to look at")
        if verdict.transactions >= _ENOUGH and (none := [kind for kind in _KINDS if not verdict.kinds_of_changes[kind]]):
            result.findings.append(f"the load had none of these: {', '.join(none)}")
        result.findings += [*crew.stop(), *crew.ladder.unseen(LOOKS * len(cards))]
        if crew.dropped and not verdict.repeated:
            result.findings.append("a sink dropped records, and none was repeated:\n" + "\n".join(crew.dropped[:5]))
        result.findings += [f"a secret in a log: {name}" for name in site.leaked_secrets()]
    except Exception as error:
        result.findings.append(f"{type(error).__name__}: {error}" if isinstance(error, Finding) else f"{error!r}\n{_where(error)}")
        print(f"  FOUND {result.findings[-1]}", flush=True)
    finally:
        result.restarts += crew.restarts
        result.looks += crew.ladder.looks
        _end(world, site, crew, load, keep=bool(result.findings))


def _where(error: Exception) -> str:
    import traceback
    return "".join(traceback.format_exception(error))[-6000:]


def _end(world: World, site: Site, crew: Crew, load: Any, keep: bool) -> None:
    """A round's things go, unless something was found."""
    world.heal()
    try:
        crew.ladder.stop()
        load.stop(60)
    except Exception as error:
        print(f"  the load: {error!r}", flush=True)
    for agent in site.agents:
        if agent.process is not None and agent.process.running:
            agent.kill()
    if not keep:
        site.reconnect()
        topics = [*site.auditor.topics, site.agent.progress_topic]
        site.close()
        world.kafka.delete_topics(topics)
