"""A real PostgreSQL and a real Spark, both started once; each test has a database of its own."""

import glob
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

HOME = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"
JAR = os.environ.get("MEDALLION_JDBC_JAR", "/usr/share/java/postgresql.jar")
sys.path.insert(0, str(HOME / "jobs"))

os.environ.update(
    PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1", MEDALLION_PYTHON=sys.executable, MEDALLION_JDBC_JAR=JAR,
    # A zone whose days lack some midnights: if one is applied anywhere, dates shift.
    TZ="America/Sao_Paulo",
    PYSPARK_SUBMIT_ARGS=f"--master local[2] --properties-file {HOME}/spark.conf --jars {JAR} --driver-class-path {JAR} pyspark-shell")
os.environ.pop("PGPASSFILE", None)


def as_owner(command: list[str]) -> None:
    """PostgreSQL refuses to run as root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run(prefix + command, check=True, stdout=subprocess.DEVNULL, timeout=120)


@pytest.fixture(scope="session")
def server():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    binaries = Path(found[-1]).parent if found else Path(shutil.which("initdb") or "initdb").parent
    folder = Path(tempfile.mkdtemp(prefix="medallion-"))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    as_owner([str(binaries / "initdb"), "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8"])
    as_owner([str(binaries / "pg_ctl"), "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o",
              f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c wal_level=logical"
              " -c fsync=off -c autovacuum=off -c max_replication_slots=30", "start"])
    os.environ.update(PGHOST="127.0.0.1", PGPORT=str(port), PGUSER="postgres", PGDATABASE="postgres")
    from database import migrate
    with psycopg.connect("", autocommit=True) as db:
        db.execute("create database medallion_template")
    os.environ["PGDATABASE"] = "medallion_template"
    migrate()
    yield
    as_owner([str(binaries / "pg_ctl"), "-D", f"{folder}/data", "-m", "immediate", "stop"])
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def spark():
    from pyspark.sql import SparkSession
    # Small inputs: compiling a query takes longer than running it.
    session = (SparkSession.builder.appName("tests").config("spark.sql.shuffle.partitions", "1")
               .config("spark.sql.codegen.wholeStage", "false").config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
               .config("spark.sql.adaptive.enabled", "false").getOrCreate())
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


NUMBER = itertools.count()


@pytest.fixture
def lake(server, tmp_path, monkeypatch):
    """A database with the tables, and an empty landing folder."""
    name = f"lake{next(NUMBER)}"
    monkeypatch.setenv("PGDATABASE", "postgres")
    with psycopg.connect("", autocommit=True) as db:
        db.execute(f"create database {name} template medallion_template")
    monkeypatch.setenv("PGDATABASE", name)
    landing = tmp_path / "landing"
    landing.mkdir()
    monkeypatch.setenv("MEDALLION_LANDING", str(landing))
    monkeypatch.setenv("MEDALLION_METRICS", str(tmp_path / "medallion.prom"))
    yield Lake(landing)
    with psycopg.connect("", autocommit=True) as db:
        db.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()")


class Lake:
    """What a test does to a lake and asks of it."""

    def __init__(self, landing: Path):
        self.landing = landing

    def ask(self, query: str, *values) -> list[tuple]:
        with psycopg.connect("", autocommit=True) as db:
            cursor = db.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *values):
        return self.ask(query, *values)[0][0]

    def run(self, spark, *names: str) -> dict[str, dict[str, int]]:
        """Runs jobs in this process's Spark. Returns their counts."""
        import job
        from database import Run
        counts = {}
        for name in names or ("bronze", "silver", "gold"):
            run = Run(name)
            job.JOBS[name](spark, run)
            run.finish()
            counts[name] = run.counts
        return counts

    def raw(self, *arguments: str) -> None:
        subprocess.run([str(HOME / "medallion"), "raw", *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def official(self, name: str, *rows: str) -> None:
        """Lands rows of the official file: `Tesouro IPCA+;15/05/2015;18/07/2005;8,74;8,80;675,19;671,56;671,25`."""
        import raw
        header = ";".join(raw.COLUMNS)
        raw.official(self.landing, name, ("\n".join([header, *rows]) + "\n").encode())

    def tables(self) -> dict[str, list[tuple]]:
        """What the layers hold, without surrogate keys and times of loading."""
        return {
            "bronze": self.ask("select f.sha256, b.line, b.entry, b.dia, b.titulo, b.taxa_compra, b.pu_base from medallion.bronze b"
                               " join medallion.file f on f.id = b.file_id order by 1, 2, 3"),
            "bronze rejects": self.ask("select f.sha256, r.line, r.entry, r.reason from medallion.bronze_reject r"
                                       " join medallion.file f on f.id = r.file_id order by 1, 2, 3"),
            "silver": self.ask("select s.tipo, s.data_vencimento, s.data_base, s.taxa_compra, s.taxa_venda, s.pu_compra, s.pu_venda,"
                               " s.pu_base from medallion.silver s order by 1, 2, 3"),
            "silver rejects": self.ask("select f.sha256, r.line, r.entry, r.reason from medallion.silver_reject r"
                                       " join medallion.file f on f.id = r.file_id order by 1, 2, 3"),
            "ipca": self.ask('select * from dadostesouroipca_gold order by "Data_Base"'),
            "pre": self.ask('select * from dadostesouropre_gold order by "Data_Base"'),
            "due": self.ask("select dia from medallion.silver_due union all select dia from medallion.gold_due"),
            "quarantine": self.ask("select regexp_replace(path, '.*/', ''), reason from medallion.quarantine order by 1"),
        }
