"""PostgreSQL: migrations, the .sql files of the merges, the lock of a run, its log and its metrics.

The connection is libpq's own: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD or PGPASSFILE.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

HERE = Path(__file__).resolve().parent.parent
LOCK = "hashtextextended('medallion', 0)"


def sql(layer: str, name: str) -> str:
    return (HERE / "sql" / layer / f"{name}.sql").read_text()


def connect() -> psycopg.Connection:
    return psycopg.connect("", autocommit=True, row_factory=dict_row, application_name="medallion")


def migrate() -> list[str]:
    """Applies the migrations that are missing, each in a transaction with the note that it was applied."""
    applied = []
    with connect() as db:
        db.execute(f"select pg_advisory_lock({LOCK})")
        db.execute("create table if not exists public.medallion_migration"
                   " (name text primary key, applied_at timestamptz not null default now())")
        known = {row["name"] for row in db.execute("select name from public.medallion_migration")}
        for path in sorted((HERE / "migrations").glob("*.sql")):
            if path.name in known:
                continue
            with db.transaction():
                db.execute(path.read_text())
                db.execute("insert into public.medallion_migration (name) values (%s)", [path.name])
            applied.append(path.name)
    return applied


class Run:
    """One attempt of one job. Its connection holds the lock and does the merge, so that a process that lost the lock cannot merge."""

    def __init__(self, job: str):
        self.job = job
        self.id = str(uuid.uuid4())
        self.counts: dict[str, int] = {}
        self.started = time.monotonic()
        self.db = connect()
        self.db.execute("set lock_timeout = '60s'")
        self.db.execute(f"select pg_advisory_lock({LOCK})")
        self.db.execute("select set_config('medallion.run', %s, false)", [self.id])
        self.db.execute("insert into medallion.run (id, job) values (%s, %s)", [self.id, job])

    def clear(self, *tables: str) -> None:
        """Empties staging of what an earlier run left. Only names that begin with stage_ are accepted."""
        for table in tables:
            if not table.startswith("stage_"):
                raise ValueError(f"{table} is not a staging table")
            self.db.execute(f"truncate medallion.{table}")

    def script(self, name: str) -> dict[str, int]:
        """Runs a .sql file in one transaction and returns the row of its last statement."""
        with self.db.transaction():
            cursor = self.db.execute(sql("postgres", name))
            while cursor.nextset():
                pass
            row = cursor.fetchone() or {}
        return {key: int(value) for key, value in row.items()}

    def add(self, counts: dict[str, int]) -> None:
        for key, value in counts.items():
            self.counts[key] = self.counts.get(key, 0) + value

    def finish(self) -> None:
        seconds = time.monotonic() - self.started
        self.db.execute("update medallion.run set finished_at = clock_timestamp(), seconds = %s, counts = %s where id = %s",
                        [seconds, json.dumps(self.counts), self.id])
        print(f"medallion {self.job} finished seconds={seconds:.1f} "
              + " ".join(f"{key}={value}" for key, value in self.counts.items()), flush=True)
        write_metrics(self.db)
        self.db.close()


def write_metrics(db: psycopg.Connection) -> None:
    """Writes the metrics as a text file for Prometheus' node exporter, whole or not at all. Off without MEDALLION_METRICS."""
    target = os.environ.get("MEDALLION_METRICS")
    if not target:
        return
    lines, named = [], set()
    for row in db.execute(sql("postgres", "metrics")):
        if row["name"] not in named:
            named.add(row["name"])
            lines.append(f"# TYPE {row['name']} gauge")
        lines.append(f"{row['name']}{row['labels']} {row['value']}")
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text("\n".join(lines) + "\n")
    part.replace(path)


def check() -> int:
    """The check of data quality. Returns how many of its lines are wrong."""
    run = Run("check")
    rows = run.db.execute(sql("postgres", "check")).fetchall()
    wrong = [row for row in rows if row["wrong"]]
    for row in rows:
        print(f"{'WRONG' if row['wrong'] else 'ok':>6} {row['wrong']:>8}  {row['name']}", flush=True)
    run.add({"checks": len(rows), "wrong": len(wrong)})
    run.finish()
    return len(wrong)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["migrate"]:
            print("applied: " + (", ".join(migrate()) or "nothing, all there"))
        case ["check"]:
            sys.exit(1 if check() else 0)
        case _:
            sys.exit("usage: database.py migrate | check")
