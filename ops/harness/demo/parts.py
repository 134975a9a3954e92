"""What both demos have: the servers, the agent's configuration, the look into the bucket, and the verdict."""

from __future__ import annotations

from ..agent import Agent
from ..audit import Auditor, Lake
from ..postgres import AGENT_PASSWORD, Postgres, debian_bin, wheel_bin
from ..processes import Lab
from ..site import librdkafka_folder
from ..stores import Moto, S3Proxy, Store, s3proxy_home
from ..workload import GOLD_TABLES
from . import screen
from .broker import Broker, start_broker

NAME = "tesouro"
DATABASE = "gold"
BUCKET = "lake"
ORIGINAL_TOPICS = "postgres-{table}"


def start_servers(lab: Lab, only_mesh: bool) -> tuple[Postgres, Broker, Store]:
    screen.heading("Servers, all on 127.0.0.1, all temporary")
    postgres = Postgres(lab.folder("postgres"), debian_bin() if debian_bin().exists() else wheel_bin()).create().start()
    with postgres.connect("postgres") as connection:
        version = connection.execute("show server_version").fetchone()
    screen.fact("PostgreSQL", f"{version[0] if version else ''}, port {postgres.port}, wal_level=logical")
    broker = start_broker(lab, screen.say, only_mesh)
    screen.fact("Kafka", f"{broker.brokers}, {broker.kind}")
    if broker.caveat:
        screen.fact("", screen.paint(broker.caveat, "33"))
    store: Store = S3Proxy(lab.folder("store")) if s3proxy_home() else Moto(lab.folder("store"))
    store.start().create_bucket(BUCKET)
    screen.fact("S3", f"{store.access.endpoint}, {store.name}" + ("" if store.keeps_objects else " (in memory)"))
    return postgres, broker, store


def configure(lab: Lab, postgres: Postgres, broker: Broker, store: Store, topic: str | None = None) -> Agent:
    folder = lab.folder("sluice")
    for file, secret in (("postgres.secret", AGENT_PASSWORD), ("s3.secret", store.access.secret)):
        (folder / file).write_text(secret + "\n")
        (folder / file).chmod(0o600)
    return Agent(folder, {
        "name": NAME,
        "postgres": {"url": postgres.agent_url(DATABASE, password=False), "password_file": str(folder / "postgres.secret"),
                     "tables": [f"{schema}.{table}" for schema, table in GOLD_TABLES]},
        "kafka": {"brokers": broker.brokers, "replication_factor": 1, **({"topic": topic} if topic else {}),
                  "client": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}},
        "s3": {"url": f"s3://{BUCKET}/{NAME}", "endpoint": store.access.endpoint, "region": "us-east-1", "path_style": True,
               "access_key_id": store.access.access_key, "secret_access_key_file": str(folder / "s3.secret"),
               "rotate": {"bytes": "256KiB", "age": "3s"}},
        "limits": {"spool_dir": str(folder)},
    }, {"LD_LIBRARY_PATH": librdkafka_folder()}, label="sluice")


def show_lake(lake: Lake, topics: list[str]) -> None:
    objects = lake.read(topics)
    screen.heading(f"The bucket: {len(objects)} objects")
    for stored in objects[:4]:
        screen.say(f"s3://{lake.bucket}/{lake.prefix}/{stored.name}  ({len(stored.lines)} lines)")
    if len(objects) > 5:
        screen.say(f"... {len(objects) - 5} more ...")
    if len(objects) > 4:
        screen.say(f"s3://{lake.bucket}/{lake.prefix}/{objects[-1].name}  ({len(objects[-1].lines)} lines)")
    screen.heading("The first lines of the first object")
    for line in objects[0].lines[:2] if objects else []:
        screen.say(line.decode())
    if objects:
        screen.say(screen.paint(f"metadata: {objects[0].meta}", "2"))


def judge(agent: Agent, auditor: Auditor) -> bool:
    screen.heading("sluice verify")
    verified = agent.command("verify", timeout=180)
    for line in verified.text.strip().splitlines()[-12:]:
        screen.say(line)
    (screen.good if verified.code == 0 else screen.bad)(f"exit {verified.code}")
    screen.heading("An oracle that uses nothing of sluice: test_decoding against Kafka (read_committed) and S3")
    verdict = auditor.verdict()
    (screen.good if verdict.clean else screen.bad)(verdict.report())
    return verified.code == 0 and verdict.clean
