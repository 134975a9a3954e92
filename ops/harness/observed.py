"""`ops/dashboards/check`: asks a real Prometheus, which scrapes a real agent at work, every query of the dashboard and of the alerts.

A query fails if Prometheus refuses it, or if a metric in it does not exist; an alert that fires on a healthy agent fails too.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .demo.loader import Loader
from .demo.parts import BUCKET, DATABASE, configure, start_servers
from .demo.series import generated
from .kafka import REPOSITORY
from .postgres import AGENT_ROLE, SUPERUSER, SUPERUSER_PASSWORD, Postgres
from .processes import Lab, Process, free_port, wait_until
from .workload import GOLD_TABLES

DASHBOARD = REPOSITORY / "ops" / "dashboards" / "sluice.json"
ALERTS = REPOSITORY / "ops" / "alerts"
BATCH_SIDE = REPOSITORY / "ops" / "medallion" / "sql" / "postgres" / "metrics.sql"
_METRIC = re.compile(r"\b(?:sluice|medallion)_[a-z0-9_]+")


def serve(file: Path) -> int:
    """What the node exporter does with a text file; answers the port."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(file.read_bytes())

        def log_message(self, *_: object) -> None:
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def batch_side(lab: Lab, postgres: Postgres) -> Path:
    """The tables by ops/medallion's migrations, and the metrics that its check writes."""
    file = lab.folder("metrics") / "medallion.prom"
    env = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGDATABASE": DATABASE, "PGUSER": SUPERUSER,
           "PGPASSWORD": SUPERUSER_PASSWORD, "MEDALLION_PYTHON": sys.executable, "MEDALLION_METRICS": str(file)}
    for step in ("migrate", "check"):
        subprocess.run([str(REPOSITORY / "ops" / "medallion" / "medallion"), step], env=env, check=True, stdout=subprocess.DEVNULL)
    return file


class Prometheus:
    def __init__(self, lab: Lab, jobs: dict[str, int]) -> None:
        folder = lab.folder("prometheus")
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(json.dumps({  # YAML reads JSON
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [f"{ALERTS}/*.rules.yaml"],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in jobs.items()]}))
        self.process = Process("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                                              f"--web.listen-address=127.0.0.1:{self.port}"], folder / "server.log", cwd=folder).start()
        self.process.ready(lambda: self.get("/api/v1/status/runtimeinfo"), 30)

    def get(self, path: str, **parameters: str) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", str(error))) from None

    def names(self) -> set[str]:
        return set(self.get("/api/v1/label/__name__/values"))


def dashboard_queries() -> list[tuple[str, str]]:
    """(panel, PromQL), Grafana's variables replaced."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    found += [(f"variable {variable['name']}", re.sub(r"^label_values\((.*), *\w+\)$", r"\1", variable["query"]["query"]))
              for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    return [(title, query.replace("$__rate_interval", "10s").replace("$instance", ".*")) for title, query in found]


def ask(prometheus: Prometheus, queries: Iterable[tuple[str, str]], report: Callable[[bool, str], None]) -> None:
    known = prometheus.names()
    # What the batch side counts appears with the first file that it could not read, the first row that it rejected.
    possible = set(_METRIC.findall(BATCH_SIDE.read_text()))
    for title, query in queries:
        try:
            series = len(prometheus.get("/api/v1/query", query=query)["result"])
        except ValueError as error:
            report(False, f"{title}: {error}: {query}")
            continue
        missing = [name for name in _METRIC.findall(query) if name not in known and name not in possible]
        report(not missing, f"{title}: {series} series" + (f"; no such metric: {', '.join(missing)}" if missing else ""))


def ask_alerts(prometheus: Prometheus, report: Callable[[bool, str], None]) -> None:
    groups = prometheus.get("/api/v1/rules")["groups"]
    known = prometheus.names() | set(_METRIC.findall(BATCH_SIDE.read_text()))
    for rule in (rule for group in groups for rule in group["rules"]):
        missing = [name for name in _METRIC.findall(rule["query"]) if name not in known]
        page = REPOSITORY / rule["annotations"]["runbook"]
        faults = [f"no such metric: {', '.join(missing)}"] * bool(missing) + [f"fires on a healthy agent: {rule['alerts']}"] * (
            rule["state"] == "firing") + [f"health {rule['health']}"] * (rule["health"] != "ok") + [f"no page {page}"] * (not page.exists())
        report(not faults, f"alert {rule['name']}: {'; '.join(faults) or rule['state']}")


def run(lab: Lab) -> int:
    failed = 0

    def report(good: bool, text: str) -> None:
        nonlocal failed
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {text}", flush=True)

    postgres, broker, store = start_servers(lab, only_mesh=False)
    postgres.create_database(DATABASE)
    with postgres.connect(DATABASE) as admin:
        # Only a server that bounds the WAL of a slot says how much is left.
        admin.execute("alter system set max_slot_wal_keep_size = '8GB'")
        admin.execute("select pg_reload_conf()")
        metrics = batch_side(lab, postgres)
        for schema, table in GOLD_TABLES:
            admin.execute(f"alter table {schema}.{table} owner to {AGENT_ROLE}")
    agent = configure(lab, postgres, broker, store)
    # With all that it can show: a window has metrics of its own.
    agent.settings["postgres"]["replay_window"] = {"age": "1h"}  # type: ignore[index]
    agent.write()
    agent.must("init")
    agent.start().wait_ready()
    prometheus = Prometheus(lab, {"sluice": agent.port, "medallion": serve(metrics)})
    loader = Loader(lambda: postgres.connect(DATABASE), batch=20, seconds=30)
    series = generated(days=600)
    loader.plan(series)
    thread = threading.Thread(target=loader.run, args=(series,), daemon=True)
    thread.start()
    time.sleep(6)
    with postgres.connect(DATABASE) as admin:
        # A failure that the agent gets over: the series of failures begin with the first.
        admin.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", (agent.slot,))
    wait_until("the agent has counted a failure", lambda: "sluice_errors_total" in prometheus.names(), 40, pause=0.5)
    wait_until("an object has been written", lambda: "sluice_objects_total" in prometheus.names(), 60, pause=0.5)
    time.sleep(5)
    print(f"\nqueries of {DASHBOARD.name}, asked while rows flow (bucket {BUCKET}):")
    ask(prometheus, dashboard_queries(), report)
    print("\nalerts:")
    ask_alerts(prometheus, report)
    loader.stop()
    thread.join(30)
    agent.stop()
    print(f"\n{'nothing failed' if failed == 0 else f'{failed} failed'}")
    return 1 if failed else 0


def main() -> int:
    try:
        with Lab("sluice-observed-", keep="--keep" in sys.argv) as lab:
            return run(lab)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
