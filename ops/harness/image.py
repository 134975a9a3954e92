"""`docker/check live`: the agent as the image starts it, against real servers on this machine.

Its root file system is read-only, its user the image's, PostgreSQL is reached over the shared socket, the secrets are files: as in
docker/compose.yaml, whose configuration of the agent is used with the addresses replaced.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from .audit import Auditor, Lake
from .demo.chain import Medallion
from .demo.loader import Loader
from .demo.parts import BUCKET, DATABASE, NAME, ORIGINAL_TOPICS, configure, start_servers
from .demo.series import generated
from .kafka import REPOSITORY
from .postgres import AGENT_PASSWORD
from .processes import Lab, Process, free_port, wait_until
from .workload import GOLD_TABLES

CHECK = REPOSITORY / "docker" / "check"
CONFIGURATION = REPOSITORY / "docker" / "sluice" / "sluice.yaml"
USER = 10001


class Failed(RuntimeError):
    """The image does not do what it is to do."""


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Failed(f"{what}: {found!r}, not {wanted!r}")
    print(f"ok     {what}: {found}", flush=True)


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        if old not in text:
            raise Failed(f"{CONFIGURATION} does not have {old!r} any more")
        text = text.replace(old, new)
    return text


class Image:
    def __init__(self, work: str, volumes: dict[Path, str], log: Path) -> None:
        self.binds = [f"--bind={source}:{target}" for source, target in volumes.items()]
        self.work, self.log = work, log

    def argv(self, what: str, *arguments: str) -> list[str]:
        return [sys.executable, str(CHECK), what, "--work", self.work, *self.binds, *arguments]

    def code(self, what: str, *arguments: str) -> int:
        done = subprocess.run(self.argv(what, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
        print("".join(f"       {line}\n" for line in (done.stdout + done.stderr).splitlines()[-6:]), end="", flush=True)
        return done.returncode

    def start(self) -> Process:
        return Process("sluice (image)", self.argv("run", "run"), self.log).start()


def agent_of(process: Process) -> psutil.Process:
    """The agent itself, below unshare: the first process of its namespace, as in a container."""
    return next(child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "sluice")


def require_confined(agent: psutil.Process) -> None:
    expect("user of the agent", agent.uids().effective, USER)
    try:
        Path(f"/proc/{agent.pid}/root/written").touch()
    except OSError as error:
        expect("writing to its root", errno.errorcode[error.errno or 0], "EROFS")
    else:
        raise Failed("its root can be written")


def run(work: str, lab: Lab) -> None:
    os.environ.setdefault("MEDALLION_PYTHON", sys.executable)
    postgres, broker, store = start_servers(lab, only_mesh=False)
    postgres.create_database(DATABASE)
    Medallion(postgres, lab.folder("landing")).create()
    port = free_port()
    folder, secrets, spool = lab.folder("image"), lab.folder("secrets"), lab.folder("spool")
    (folder / "sluice.yaml").write_text(replaced(CONFIGURATION.read_text(), {
        "dbname=gold": f"port={postgres.port} dbname={DATABASE}", "kafka:9092": broker.brokers, "http://s3:9000": store.access.endpoint,
        "access_key_id: sluice": f"access_key_id: {store.access.access_key}", "0.0.0.0:9465": f"127.0.0.1:{port}",
        # Not ten minutes, for this check.
        "  path_style: true\n": "  path_style: true\n  rotate: { age: 3s }\n",
    }))
    for name, secret in (("postgres_sluice", AGENT_PASSWORD), ("s3_secret_key", store.access.secret)):
        (secrets / name).write_text(secret)
    for path in (secrets, *secrets.iterdir(), spool):
        shutil.chown(path, USER, USER)
        path.chmod(0o700 if path.is_dir() else 0o400)
    image = Image(work, {folder / "sluice.yaml": "/etc/sluice/sluice.yaml", secrets: "/run/secrets", spool: "/var/spool/sluice",
                         postgres.root: "/var/run/postgresql"}, lab.root / "image.log")
    # Only to ask it: the process is the image's.
    agent = configure(lab, postgres, broker, store, ORIGINAL_TOPICS)
    agent.port = port

    expect("exit of the health check without an agent", image.code("health"), 69)
    expect("exit of init", image.code("run", "init"), 0)
    expect("exit of check", image.code("run", "check"), 0)
    auditor = Auditor(postgres.connect(DATABASE), GOLD_TABLES, agent, broker.brokers, broker.data, Lake(store.access, BUCKET, NAME))
    process = image.start()
    process.ready(lambda: agent.http("/readyz")[0] == 200, 60)
    inner = agent_of(process)
    require_confined(inner)
    expect("exit of the health check beside the agent", image.code("health"), 0)
    loader, series = Loader(lambda: postgres.connect(DATABASE), batch=50, seconds=2), generated(days=200)
    loader.plan(series)
    loader.run(series)
    if loader.failure is not None:
        raise loader.failure
    verdict = auditor.verdict()
    print(verdict.report())
    expect("the oracle's verdict", verdict.clean, True)
    expect("exit of verify", image.code("run", "verify"), 0)
    inner.send_signal(signal.SIGTERM)
    expect("exit after SIGTERM", process.wait(30), 0)
    wait_until("the slot is free", lambda: not postgres.connect(DATABASE).execute(
        "select active from pg_replication_slots where slot_name = 'sluice_tesouro'").fetchone()[0], 20)
    expect("exit of the health check after it", image.code("health"), 69)


def main() -> int:
    try:
        with Lab("sluice-image-", keep="--keep" in sys.argv) as lab:
            run(sys.argv[1], lab)
        return 0
    except Failed as error:
        print(f"FAILED {error}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
