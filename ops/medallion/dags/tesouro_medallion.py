"""Every ten minutes: what landed becomes Bronze, Silver and Gold, and is checked.

From Airflow: the connection `tesouro_postgres`, and the variables `tesouro_landing` (folder or s3a:// prefix), `tesouro_metrics`
(a .prom file; off if empty), `tesouro_spark_master`, `tesouro_spark_args` and `tesouro_fetch` (`on` downloads the official file first).
"""

from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

MEDALLION = Path(__file__).resolve().parent.parent / "medallion"

ENVIRONMENT = {
    "PGHOST": "{{ conn.tesouro_postgres.host }}",
    "PGPORT": "{{ conn.tesouro_postgres.port or 5432 }}",
    "PGDATABASE": "{{ conn.tesouro_postgres.schema }}",
    "PGUSER": "{{ conn.tesouro_postgres.login }}",
    # Airflow masks a connection's password in logs and in the rendered view.
    "PGPASSWORD": "{{ conn.tesouro_postgres.password or '' }}",
    "MEDALLION_LANDING": "{{ var.value.tesouro_landing }}",
    "MEDALLION_METRICS": "{{ var.value.get('tesouro_metrics', '') }}",
    "MEDALLION_SPARK_MASTER": "{{ var.value.get('tesouro_spark_master', 'local[2]') }}",
    "MEDALLION_SPARK_ARGS": "{{ var.value.get('tesouro_spark_args', '') }}",
}

with DAG(
    dag_id="tesouro_medallion",
    description="Raw Treasury data to Bronze, Silver and Gold, as micro-batches",
    schedule="*/10 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(minutes=30),
        "env": ENVIRONMENT,
        "append_env": True,
    },
    tags=["tesouro", "medallion"],
    doc_md=__doc__,
) as dag:

    def step(name: str, command: str, **arguments) -> BashOperator:
        return BashOperator(task_id=name, bash_command=f"{MEDALLION} {command} ", **arguments)

    # 99 skips: by default nothing is downloaded. A download that fails does not keep back what has landed.
    fetch = BashOperator(
        task_id="fetch",
        bash_command="[ '{{ var.value.get('tesouro_fetch', 'off') }}' = on ] || exit 99\n" + f"{MEDALLION} raw fetch ",
    )
    bronze = step("bronze", "job bronze", trigger_rule="all_done")
    silver = step("silver", "job silver")
    gold = step("gold", "job gold")
    # A wrong count does not come right by counting again, and the next run is ten minutes away.
    check = step("check", "check", retries=0)

    fetch >> bronze >> silver >> gold >> check
