"""One database, one agent, one place for objects, on a stack of servers: what a test works with."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from .agent import Agent, Settings, merge
from .audit import Auditor, Lake
from .kafka import KAFKA_PASSWORD, KAFKA_USER, Kafka, kafka_home
from .oracle.source import Table
from .postgres import AGENT_PASSWORD, AGENT_ROLE, SUPERUSER_PASSWORD, Postgres, debian_bin, wheel_bin
from .processes import Lab
from .stores import Moto, S3Proxy, Store, s3proxy_home
from .source_clock import SourceClock
from .workload import TABLES, WIDE_TABLES, Workload, create_tables


@dataclass
class Stack:
    """The servers, and the librdkafka that the agent runs on."""

    name: str
    lab: Lab
    postgres: Postgres
    kafka: Kafka
    store: Store
    env: Mapping[str, str]

    def heal(self) -> None:
        """Starts what a failed test left dead: the next test is not to blame."""
        if not self.postgres.running:
            self.postgres.start()
        self.kafka.start()
        if not self.store.running:
            self.store.start()

    def stop(self) -> None:
        self.store.stop()
        self.kafka.stop()
        self.postgres.stop("immediate")


STACKS = ("pg15-librdkafka2.0-s3proxy", "pg18-librdkafka2.16-moto")


def librdkafka_folder() -> str:
    """Where ops/setup put the wheel's librdkafka under its plain name."""
    return os.environ.get("SLUICE_LIBRDKAFKA", str(Path(sys.prefix) / "librdkafka"))


def start_stack(name: str, lab: Lab) -> Stack:
    """Not the product of all versions: the oldest and the newest of everything."""
    home = kafka_home()
    if home is None:
        raise FileNotFoundError("no Apache Kafka: set KAFKA_HOME")
    root = lab.folder(name)
    old = name.startswith("pg15")
    postgres = Postgres(root / "postgres", debian_bin() if old else wheel_bin(), name.split("-")[0])
    store: Store = S3Proxy(root / "store") if old and s3proxy_home() is not None else Moto(root / "store")
    # Everybody may do anything, but with what a right was given for; the tests' own clients always.
    rights = {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
              "allow.everyone.if.no.acl.found": "true",
              # How often transactions are looked at that are past their time-out.
              "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}
    kafka = Kafka(home, root / "kafka", overrides=rights, secure=True).create().start()
    store.start()
    postgres.create().start()
    return Stack(name, lab, postgres, kafka, store, {} if old else {"LD_LIBRARY_PATH": librdkafka_folder()})


@dataclass
class Site:
    stack: Stack
    name: str
    agent: Agent
    connection: psycopg.Connection[tuple]
    lake: Lake
    tables: list[Table]
    agents: list[Agent] = field(default_factory=list)
    _auditor: Auditor | None = None
    clock: SourceClock | None = None

    @property
    def database(self) -> str:
        return self.name

    @property
    def auditor(self) -> Auditor:
        """The truth begins when this is first asked for: before the load. Made later it would know of nothing, and find nothing wrong."""
        if self._auditor is None:
            if started := [agent.label for agent in self.agents if agent.starts]:
                raise RuntimeError(f"{', '.join(started)} ran already: the truth begins before the load")
            self._auditor = Auditor(self.connection, self.tables, self.agent, self.stack.kafka.brokers,
                                    self.stack.kafka.data_folders, self.lake, slot=f"oracle_{self.name}", clock=self.clock)
        return self._auditor

    def sql(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)  # type: ignore[arg-type]

    def reconnect(self) -> None:
        """After the server was killed or stopped."""
        with suppress(psycopg.Error):
            self.connection.close()
        self.connection = self.stack.postgres.connect(self.database)
        if self._auditor is not None:
            self._auditor.connection = self.connection

    def workload(self, **more: Any) -> Workload:
        return Workload(lambda: self.stack.postgres.connect(self.database), clock=self.clock, **more)

    def set_clock(self) -> None:
        """From here on the source has a clock of its own, and the oracle judges its hours (C6)."""
        self.clock = SourceClock(self.database).install(self.connection)

    def init(self) -> Site:
        """`sluice init`, and the truth from here on."""
        self.agent.must("init")
        _ = self.auditor
        return self

    def run(self, *arguments: str) -> Site:
        self.agent.start(*arguments).wait_ready()
        return self

    def twin(self, label: str, changes: Mapping[str, Any] | None = None) -> Agent:
        twin = self.agent.twin(label, changes)
        self.agents.append(twin)
        return twin

    def logs(self) -> str:
        return "\n".join(agent.log.read_text(errors="replace") for agent in self.agents if agent.log.exists())

    def leaked_secrets(self) -> list[str]:
        """Secrets that stand in a log: must be none, whatever happened."""
        text = self.logs()
        secrets = {"agent's password": AGENT_PASSWORD, "superuser's password": SUPERUSER_PASSWORD,
                   "Kafka's password": KAFKA_PASSWORD, "S3 secret": self.stack.store.access.secret}
        return [name for name, secret in secrets.items() if secret in text]

    def close(self) -> None:
        for agent in self.agents:
            if agent.process is not None and agent.process.running:
                agent.kill()
        if self.clock is not None:
            with self.stack.postgres.connect("postgres") as admin:
                self.clock.drop(admin)
        with suppress(psycopg.Error):
            self.connection.close()
        self.stack.postgres.drop_database(self.database)


def default_settings(stack: Stack, name: str, folder: Path, tables: list[Table]) -> Settings:
    """Small bounds, so that a test sees several objects and batches within seconds."""
    for file, secret in (("postgres.secret", AGENT_PASSWORD), ("s3.secret", stack.store.access.secret)):
        (folder / file).write_text(secret + "\n")
        (folder / file).chmod(0o600)
    return {
        "name": name,
        "postgres": {
            "url": stack.postgres.agent_url(name, password=False),
            "password_file": str(folder / "postgres.secret"),
            "tables": [f"{schema}.{table}" for schema, table in tables],
        },
        "kafka": {
            "brokers": stack.kafka.agent_brokers,
            "partitions": 3,
            "replication_factor": 1,
            # A killed sink's partitions are free for the next one only after its session.
            "client": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000},
        },
        "s3": {
            "url": f"s3://{bucket_of(name)}/lake",
            "endpoint": stack.store.access.endpoint,
            "region": "us-east-1",
            "path_style": True,
            "access_key_id": stack.store.access.access_key,
            "secret_access_key_file": str(folder / "s3.secret"),
            "rotate": {"bytes": "1MiB", "age": "2s"},
        },
        "limits": {"spool_dir": str(folder), "start_timeout": "30s"},
    }


def bucket_of(name: str) -> str:
    return name.replace("_", "-")


def make_site(stack: Stack, changes: Mapping[str, Any] | None = None, tables: list[Table] | None = None,
              file_store: bool = False, encoding: str | None = None, wide: bool = False) -> Site:
    """A fresh database with the load's tables, a fresh bucket (or folder), and a configuration for both."""
    name = f"t{uuid.uuid4().hex[:10]}"
    folder = stack.lab.folder(f"{stack.name}/sites/{name}")
    published = (WIDE_TABLES if wide else TABLES) if tables is None else tables
    stack.postgres.create_database(name, encoding)
    connection = stack.postgres.connect(name)
    create_tables(connection, AGENT_ROLE, wide=wide)
    settings = default_settings(stack, name, folder, published)
    if file_store:
        lake = Lake(folder=folder / "lake")
        settings = merge(settings, {"s3": {"url": f"file://{folder}/lake", "endpoint": None, "region": None, "path_style": None,
                                           "access_key_id": None, "secret_access_key_file": None}})
    else:
        stack.store.create_bucket(bucket_of(name))
        lake = Lake(stack.store.access, bucket_of(name), "lake")
    agent = Agent(folder, merge(settings, changes or {}), stack.env)
    return Site(stack, name, agent, connection, lake, published, [agent])


def use_secure_kafka(site: Site) -> None:
    """The site's agent goes to the broker over TLS, and shows its password."""
    kafka, secret = site.stack.kafka, site.agent.folder / "kafka.secret"
    secret.write_text(KAFKA_PASSWORD + "\n")
    # Before 2.6.1 librdkafka's SCRAM is not what brokers from 4.0 on take (confluentinc/librdkafka#4895).
    mechanism = "PLAIN" if "librdkafka2.0" in site.stack.name else "SCRAM-SHA-512"
    client = {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, "sasl.username": KAFKA_USER,
              "sasl.password_file": str(secret), "ssl.ca.location": str(kafka.authority)}
    site.agent.settings = merge(site.agent.settings, {"kafka": {"brokers": kafka.secure_brokers, "client": client}})
    site.agent.write()
