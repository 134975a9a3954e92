"""A run that dies, at any point, by SIGKILL: the next run gives the same tables. And the DAG, under Airflow."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import DATA, HOME

from test_layers import sample

KILLS = int(os.environ.get("MEDALLION_TEST_KILLS", "1"))
LAYERS = ["bronze", "silver", "gold"]
SEED = int(os.environ.get("MEDALLION_TEST_SEED", str(random.randrange(2**32))))


@pytest.fixture(scope="session")
def expected():
    return {}


@pytest.mark.parametrize("attempt", range(KILLS))
@pytest.mark.parametrize("name", LAYERS)
def test_killed_and_run_again(name, attempt, lake, spark, expected):
    chance = random.Random(f"{SEED} {name} {attempt}")
    print(f"MEDALLION_TEST_SEED={SEED}")
    sample(lake)
    lake.raw("service", str(DATA / "snapshots.tar.gz"))
    if before := LAYERS[:LAYERS.index(name)]:
        lake.run(spark, *before)
    process = subprocess.Popen([str(HOME / "medallion"), "job", name], start_new_session=True)
    # Half of the kills at any time, half while staging or merging: when the run has begun and a moment later.
    deadline = time.monotonic() + chance.uniform(0, 12)
    begun = chance.random() < 0.5
    while process.poll() is None and time.monotonic() < deadline + (60 if begun else 0):
        if begun and lake.one("select count(*) from medallion.run where job = %s and finished_at is null", name):
            time.sleep(chance.uniform(0, 6))
            break
        time.sleep(0.02)
    # The job may have been sooner than the kill, but then it must have ended well.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    ended = process.wait(timeout=30)
    print(f"{name}: {'killed' if ended else 'had ended by itself'}")
    assert ended in (0, -signal.SIGKILL)
    lake.run(spark)
    tables = lake.tables()
    assert tables["due"] == []
    assert tables == expected.setdefault("tables", tables)


def test_the_merge_is_all_or_nothing(lake, spark, monkeypatch):
    """A merge that fails in its last statement leaves what was there."""
    import database
    sample(lake)
    lake.run(spark, "bronze", "silver")
    whole = database.sql
    monkeypatch.setattr(database, "sql", lambda layer, name: whole(layer, name) + ("select 1 / 0" if (layer, name) == ("postgres", "gold") else ""))
    with pytest.raises(Exception, match="division by zero"):
        lake.run(spark, "gold")
    assert lake.one("select count(*) from dadostesouroipca_gold") == 0
    assert lake.one("select count(*) from medallion.gold_due") > 0
    monkeypatch.undo()


@pytest.fixture
def airflow(lake, tmp_path):
    home = tmp_path / "airflow"
    home.mkdir()
    (home / "connections.json").write_text(json.dumps({"tesouro_postgres": {
        "conn_type": "postgres", "host": os.environ["PGHOST"], "port": int(os.environ["PGPORT"]), "login": "postgres",
        "password": "not asked for", "schema": os.environ["PGDATABASE"]}}))
    environment = os.environ | {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False", "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        # As in the containers: connections are a file, not a variable.
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(home / "connections.json")}),
        "AIRFLOW_VAR_TESOURO_LANDING": str(lake.landing), "AIRFLOW_VAR_TESOURO_METRICS": str(tmp_path / "dag.prom"),
    }
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "MEDALLION_LANDING", "MEDALLION_METRICS"):
        environment.pop(name, None)
    command = [str(Path(sys.executable).parent / "airflow")]

    def call(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(command + list(arguments), env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=1200)

    migrated = call("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout
    return call


def test_the_dag_under_airflow(lake, airflow, tmp_path):
    sample(lake)
    lake.raw("service", str(DATA / "snapshots.tar.gz"))
    done = airflow("dags", "test", "tesouro_medallion")
    assert done.returncode == 0, done.stdout[-8000:]
    assert lake.one("select count(*) from dadostesouroipca_gold") > 10
    assert [job for (job,) in lake.ask("select job from medallion.run order by started_at")] == ["bronze", "silver", "gold", "check"]
    assert "medallion gold finished seconds=" in done.stdout
    assert 'medallion_run_seconds{step="check"}' in (tmp_path / "dag.prom").read_text()

    # A Gold row that is wrong fails the check, and with it the run.
    lake.ask("update dadostesouroipca_gold set qtde_registros = 1000 where \"Data_Base\" = '2005-07-18'")
    failed = airflow("tasks", "test", "tesouro_medallion", "check")
    assert "WRONG" in failed.stdout
    assert "new_state=failed" in failed.stdout, failed.stdout[-4000:]


def test_the_shape_of_the_dag(lake, airflow):
    code = ("import sys; sys.path.insert(0, %r); from tesouro_medallion import dag; import json; print('DAG' + json.dumps({"
            "'schedule': dag.schedule, 'catchup': dag.catchup, 'active': dag.max_active_runs,"
            "'order': {t.task_id: sorted(t.downstream_task_ids) for t in dag.tasks},"
            "'retries': sorted({t.retries for t in dag.tasks}), 'backoff': all(t.retry_exponential_backoff for t in dag.tasks)}))" % str(HOME / "dags"))
    shown = subprocess.run([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, timeout=120, check=True).stdout
    shape = json.loads(shown.split("DAG", 1)[1])
    assert shape == {
        "schedule": "*/10 * * * *", "catchup": False, "active": 1, "retries": [0, 3], "backoff": True,
        "order": {"fetch": ["bronze"], "bronze": ["silver"], "silver": ["gold"], "gold": ["check"], "check": []}}
