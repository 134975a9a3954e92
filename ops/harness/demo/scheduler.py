"""Apache Airflow on 127.0.0.1, with the DAG of ops/medallion as it stands: scheduler, DAG processor and API server, for one demo."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..kafka import REPOSITORY
from ..processes import NotReady, Process, free_port, wait_until

MEDALLION = REPOSITORY / "ops" / "medallion"
DAG = "tesouro_medallion"
_ENDED = ("success", "failed")


class RunFailed(RuntimeError):
    """A run of the DAG that did not succeed."""


@dataclass
class Scheduler:
    """`python`: an environment with ops/medallion/requirements-test.txt. `settings`: what the DAG's tasks have in their environment."""

    folder: Path
    python: Path
    settings: Mapping[str, str]
    port: int = field(default_factory=free_port)
    _processes: list[Process] = field(default_factory=list)
    _token: str = ""

    def __post_init__(self) -> None:
        self._env = {
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(MEDALLION / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            # Nobody but this machine's loopback can ask, and all ends with the demo.
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "60",
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "MEDALLION_PYTHON": str(self.python),
            "PYTHONPATH": "",
            "no_proxy": "127.0.0.1,localhost",
            "NO_PROXY": "127.0.0.1,localhost",
            **self.settings,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Scheduler:
        airflow = str(self.python.with_name("airflow"))
        done = subprocess.run([airflow, "db", "migrate"], env={**os.environ, **self._env}, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=180, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"airflow db migrate: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        for name, *command in (("api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
                               ("scheduler", "--skip-serve-logs"), ("dag-processor",)):
            self._processes.append(Process(f"airflow {name}", [airflow, name, *command], self.folder / f"{name}.log", env=self._env,
                                           cwd=self.folder).start())
        wait_until(f"Airflow knows {DAG} (logs: {self.folder})", lambda: self._alive() and self._known(), 180, pause=0.5)
        return self

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()

    def _alive(self) -> bool:
        for process in self._processes:
            process.require_running()
        return True

    def _known(self) -> bool:
        return not self._ask("GET", f"/dags/{DAG}").get("has_import_errors", False)

    # The public API of Airflow 3

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if not self._token:
            with urllib.request.urlopen(f"{self.url}/auth/token", timeout=20) as answer:
                self._token = json.load(answer)["access_token"]
        request = urllib.request.Request(f"{self.url}/api/v2{path}", method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self._token = ""
            raise

    def unpause(self) -> None:
        """From now on the scheduler makes the runs of `*/10 * * * *`, the one that is due at once."""
        self._ask("PATCH", f"/dags/{DAG}", {"is_paused": False})

    def trigger(self) -> str:
        """A run beside the schedule; its id."""
        return str(self._ask("POST", f"/dags/{DAG}/dagRuns", {"logical_date": None})["dag_run_id"])

    def runs(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return self._ask("GET", f"/dags/{DAG}/dagRuns?order_by=run_after&limit=50")["dag_runs"]

    def first_run(self, timeout: float = 120) -> str:
        """The run that the scheduler made by itself; its id."""
        def made() -> str | None:
            self._alive()
            return next((str(run["dag_run_id"]) for run in self.runs()), None)
        return str(wait_until("the scheduler has made a run", made, timeout, pause=0.5))

    def wait(self, run: str, tell: Callable[[str, str, float], None], timeout: float = 900) -> None:
        """Until the run has ended; tells of each task as it ends: name, state, seconds."""
        told: set[str] = set()
        deadline = time.monotonic() + timeout
        while True:
            self._alive()
            state = self._ask("GET", f"/dags/{DAG}/dagRuns/{run}")["state"]
            tasks = self._ask("GET", f"/dags/{DAG}/dagRuns/{run}/taskInstances")["task_instances"]
            for task in sorted(tasks, key=lambda task: task["end_date"] or "~"):
                if task["task_id"] not in told and task["state"] in ("success", "failed", "skipped", "upstream_failed"):
                    told.add(task["task_id"])
                    tell(task["task_id"], task["state"], task["duration"] or 0.0)
            if state in _ENDED:
                if state != "success":
                    raise RunFailed(f"run {run} ended as {state}; logs: {self.folder / 'logs'}")
                return
            if time.monotonic() > deadline:
                raise NotReady(f"run {run} is {state} after {timeout:.0f} s; logs: {self.folder}")
            time.sleep(0.5)
