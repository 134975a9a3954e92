"""The whole chain, to watch: raw files, Bronze, Silver and Gold by Spark under Airflow's scheduler, sluice, Kafka, S3; and back again.

Three micro-batches with new raw files between them, then all of it once more, which must emit nothing; at the end the objects in S3 are
read back with Spark and compared with the Gold tables.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ..agent import Agent
from ..audit import Auditor, Lake
from ..kafka import REPOSITORY
from ..oracle.topics import read_topics
from ..postgres import Postgres
from ..processes import Lab
from ..workload import GOLD_TABLES
from . import screen
from .parts import BUCKET, DATABASE, NAME, configure, judge, show_lake, start_servers
from .scheduler import MEDALLION, Scheduler

OWNER = "medallion"
OWNER_PASSWORD = "pw-3Zt8mWbL-owner"
HISTORY = Path("historico/uniao_2002_2025_ipca_pre.csv.gz")
SNAPSHOTS = Path("json_api/snapshots_irregulares.tar.gz")


@dataclass
class Medallion:
    """The commands of ops/medallion, as the owner of the tables."""

    postgres: Postgres
    landing: Path
    python: Path = field(default_factory=lambda: Path(os.environ["MEDALLION_PYTHON"]))

    @property
    def env(self) -> dict[str, str]:
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.postgres.port), "PGDATABASE": DATABASE, "PGUSER": OWNER,
                "PGPASSWORD": OWNER_PASSWORD, "MEDALLION_LANDING": str(self.landing), "MEDALLION_PYTHON": str(self.python)}

    @property
    def connection_uri(self) -> str:
        return f"postgresql://{OWNER}:{quote(OWNER_PASSWORD)}@127.0.0.1:{self.postgres.port}/{DATABASE}"

    def run(self, *arguments: str, timeout: float = 600) -> tuple[int, str]:
        done = subprocess.run([str(MEDALLION / "medallion"), *arguments], env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, check=False)
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def must(self, *arguments: str) -> str:
        code, text = self.run(*arguments)
        if code != 0:
            raise RuntimeError(f"medallion {' '.join(arguments)}: exit {code}\n{text}")
        return text

    def create(self) -> None:
        """The tables belong to the jobs' role, which makes the publication; sluice has REPLICATION and may read: no more."""
        with self.postgres.connect("postgres") as admin:
            admin.execute(f"create role {OWNER} login password '{OWNER_PASSWORD}'")
            admin.execute(f"alter database {DATABASE} owner to {OWNER}")
        self.must("migrate")
        with self.postgres.connect(DATABASE) as owner:
            owner.execute(f"set role {OWNER}")
            owner.execute((REPOSITORY / "docker" / "postgres" / "publication.sql").read_text())


@dataclass(frozen=True)
class Batch:
    """A micro-batch: what lands before it."""

    title: str
    land: Callable[[], None]


def treasury_batches(medallion: Medallion, data: Path, aside: Path) -> list[Batch]:
    """The official history in two deliveries, then what the Treasury's service answered: duplicates, empty and broken files included."""
    medallion.must("raw", "official", "--landing", str(aside), str(data / HISTORY))

    def land(newer: bool) -> Callable[[], None]:
        def move() -> None:
            for path in sorted(aside.glob("official_*.jsonl")):
                if (path.name.split("_")[1] >= "2023") == newer:
                    path.rename(medallion.landing / path.name)
        return move
    batches = [Batch("the official history up to 2022", land(newer=False)), Batch("the official history from 2023 on", land(newer=True))]
    if (data / SNAPSHOTS).exists():
        batches.append(Batch("snapshots of the Treasury's service, irregular ones: empty, cut, repeated, with wrong names",
                             lambda: medallion.must("raw", "service", str(data / SNAPSHOTS)) and None))
    else:
        batches.append(Batch("the newest year once more, under another name", lambda: copy_again(sorted(medallion.landing.iterdir())[-1:])))
    return batches


def generated_batches(medallion: Medallion) -> list[Batch]:
    def generate(days: int, seed: int) -> Callable[[], None]:
        return lambda: medallion.must("raw", "generate", "--days", str(days), "--seed", str(seed)) and None
    return [Batch("GENERATED rows of 250 days (not real: pass --data DIR for a real series)", generate(250, 1)),
            Batch("GENERATED: the same 250 days and 10 more", generate(260, 1)),
            Batch("GENERATED: all days restated, and 15 more", generate(275, 2))]


def copy_again(files: list[Path]) -> None:
    """The same contents under other names: written under a hidden name, then renamed, as everything that lands."""
    for path in files:
        if path.is_file() and not path.name.startswith((".", "_")):
            hidden = path.with_name(f".{path.name}.part")
            shutil.copy(path, hidden)
            hidden.rename(path.with_name(f"again_{path.name}"))


@dataclass
class Counter:
    """What PostgreSQL committed for the Gold tables, and what Kafka and S3 have of it, since the last look."""

    auditor: Auditor
    brokers: str
    lake: Lake
    seen: tuple[int, int, int] = (0, 0, 0)

    def settle(self) -> tuple[int, int, int]:
        """Waits until all has arrived. New (changes, records, objects)."""
        changes = sum(len(transaction.changes) for transaction in self.auditor.wait_kafka())
        records = read_topics(self.brokers, self.auditor.topics)
        self.auditor.wait_objects(records)
        self.auditor.glance()
        now = (changes, sum(map(len, records.values())), len(self.lake.listing(self.auditor.topics)))
        new = (now[0] - self.seen[0], now[1] - self.seen[1], now[2] - self.seen[2])
        self.seen = now
        return new


def run_batch(scheduler: Scheduler, run: str) -> None:
    def tell(task: str, state: str, seconds: float) -> None:
        text = f"{task:<8} {state:<8} {seconds:6.1f} s"
        screen.say(text if state in ("success", "skipped") else screen.paint(text, "31"))
    began = time.monotonic()
    scheduler.wait(run, tell)
    screen.say(screen.paint(f"run {run}: {time.monotonic() - began:.0f} s", "2"))


def show_counts(postgres: Postgres, counter: Counter) -> tuple[int, int, int]:
    changes, records, objects = counter.settle()
    with postgres.connect(DATABASE) as connection:
        rows = [connection.execute(f"select count(*) from {schema}.{table}").fetchone() for schema, table in GOLD_TABLES]
    held = ", ".join(f"{table} {row[0] if row else 0:,}" for (_, table), row in zip(GOLD_TABLES, rows))
    screen.fact("Gold", held)
    screen.fact("new", f"{changes:,} changes committed, {records:,} records in Kafka, {objects:,} objects in S3")
    return changes, records, objects


def fold(medallion: Medallion, lake: Lake, auditor: Auditor, folder: Path) -> bool:
    """The objects as they are in the bucket, read by Spark, against the tables."""
    screen.heading("The objects in S3, read back with Spark and folded, against the Gold tables")
    client = lake.client()
    for name in lake.listing(auditor.topics):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(lake.bucket, f"{lake.prefix}/{name}", str(path))
    pairs = [f"{folder / topic}={schema}.{table}" for topic, (schema, table) in zip(auditor.topics, GOLD_TABLES)]
    code, text = medallion.run("fold", *pairs)
    for line in text.splitlines():
        if code != 0 or line.startswith("fold "):
            screen.say(line)
    (screen.good if code == 0 else screen.bad)(f"exit {code}")
    return code == 0


def stream_batches(scheduler: Scheduler, batches: list[Batch], postgres: Postgres, counter: Counter) -> None:
    for number, batch in enumerate(batches, 1):
        screen.heading(f"Micro-batch {number}: {batch.title}")
        batch.land()
        if number == 1:
            # The scheduler makes the run that is due by itself; the later ones do not wait for the next ten minutes.
            scheduler.unpause()
            run = scheduler.first_run()
        else:
            run = scheduler.trigger()
        run_batch(scheduler, run)
        changes, records, _ = show_counts(postgres, counter)
        if number == 1 and (changes == 0 or records == 0):
            raise RuntimeError("the first micro-batch has written nothing")


def repeat(scheduler: Scheduler, medallion: Medallion, postgres: Postgres, counter: Counter) -> bool:
    screen.heading("Everything once more: every raw file under another name, every day computed again")
    copy_again(sorted(medallion.landing.iterdir()))
    with postgres.connect(DATABASE) as connection:
        connection.execute("select medallion.recompute()")
    run_batch(scheduler, scheduler.trigger())
    time.sleep(5)  # longer than s3.rotate.age: an object would be there by now
    new = show_counts(postgres, counter)
    (screen.good if new == (0, 0, 0) else screen.bad)("nothing was emitted" if new == (0, 0, 0) else f"emitted: {new}")
    return new == (0, 0, 0)


def start_agent(agent: Agent) -> None:
    screen.heading("sluice init, sluice run")
    screen.fact("configuration", str(agent.config))
    for line in agent.must("init").text.strip().splitlines()[-8:]:
        screen.say(line)
    agent.start().wait_ready()
    screen.good(f"streaming; http://127.0.0.1:{agent.port}/")


def run(data: Path | None, lab: Lab, only_mesh: bool, topic: str | None) -> int:
    postgres, broker, store = start_servers(lab, only_mesh)
    postgres.create_database(DATABASE)
    medallion = Medallion(postgres, lab.folder("landing"))
    medallion.create()
    agent = configure(lab, postgres, broker, store, topic)
    lake = Lake(store.access, BUCKET, NAME)
    start_agent(agent)
    auditor = Auditor(postgres.connect(DATABASE), GOLD_TABLES, agent, broker.brokers, broker.data, lake)
    counter = Counter(auditor, broker.brokers, lake)
    for made in auditor.topics:
        screen.fact("topic", made)

    screen.heading("Airflow: scheduler, DAG processor, API server")
    scheduler = Scheduler(lab.folder("airflow"), medallion.python, {
        "AIRFLOW_CONN_TESOURO_POSTGRES": medallion.connection_uri, "AIRFLOW_VAR_TESOURO_LANDING": str(medallion.landing),
        "AIRFLOW_VAR_TESOURO_METRICS": str(lab.folder("metrics") / "medallion.prom")}).start()
    screen.fact("Airflow", f"{scheduler.url}, DAG tesouro_medallion, */10 * * * *")
    batches = treasury_batches(medallion, data, lab.folder("aside")) if data else generated_batches(medallion)
    if data:
        screen.say(screen.paint("source: Tesouro Nacional / Tesouro Transparente, Brazil", "2"))
    stream_batches(scheduler, batches, postgres, counter)
    silent = repeat(scheduler, medallion, postgres, counter)
    made = scheduler.runs()
    screen.fact("runs", ", ".join(f"{one['run_type']} {one['state']}" for one in made))
    scheduler.stop()

    show_lake(lake, auditor.topics)
    folded = fold(medallion, lake, auditor, lab.folder("objects"))
    exact = judge(agent, auditor)
    screen.heading("Stopping")
    code = agent.stop()
    (screen.good if code == 0 else screen.bad)(f"SIGTERM: the agent drained and ended with {code}")
    return 0 if silent and folded and exact and code == 0 else 1
