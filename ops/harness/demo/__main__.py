"""`ops/demo`: see the package's docstring."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from ..agent import Agent
from ..audit import Auditor, Lake
from ..oracle.topics import read_progress
from ..postgres import AGENT_PASSWORD, AGENT_ROLE, Postgres, debian_bin, wheel_bin
from ..processes import Lab, NotReady, kill_all
from ..site import librdkafka_folder
from ..stores import Moto, S3Proxy, Store, s3proxy_home
from ..workload import GOLD_TABLES, create_tables
from . import screen
from .broker import Broker, start_broker
from .loader import Loader
from .series import Series, from_history, generated
from .watch import Watch

NAME = "tesouro"
DATABASE = "gold"
BUCKET = "lake"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ops/demo", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with historico/uniao_2002_2025_ipca_pre.csv.gz (real Treasury prices)")
    parser.add_argument("--batch", type=int, default=60, help="rows of a micro-batch (default 60)")
    parser.add_argument("--seconds", type=float, default=25, help="how long the load is spread over (default 25)")
    parser.add_argument("--mesh", action="store_true", help="use the in-memory broker even where Apache Kafka can be had")
    parser.add_argument("--keep", action="store_true", help="keep the folder with data, logs and configuration")
    return parser.parse_args()


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


def configure(lab: Lab, postgres: Postgres, broker: Broker, store: Store) -> Agent:
    folder = lab.folder("sluice")
    for file, secret in (("postgres.secret", AGENT_PASSWORD), ("s3.secret", store.access.secret)):
        (folder / file).write_text(secret + "\n")
        (folder / file).chmod(0o600)
    return Agent(folder, {
        "name": NAME,
        "postgres": {"url": postgres.agent_url(DATABASE, password=False), "password_file": str(folder / "postgres.secret"),
                     "tables": [f"{schema}.{table}" for schema, table in GOLD_TABLES]},
        "kafka": {"brokers": broker.brokers, "replication_factor": 1,
                  "client": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}},
        "s3": {"url": f"s3://{BUCKET}/{NAME}", "endpoint": store.access.endpoint, "region": "us-east-1", "path_style": True,
               "access_key_id": store.access.access_key, "secret_access_key_file": str(folder / "s3.secret"),
               "rotate": {"bytes": "256KiB", "age": "3s"}},
        "limits": {"spool_dir": str(folder)},
    }, {"LD_LIBRARY_PATH": librdkafka_folder()}, label="sluice")


def stream(agent: Agent, loader: Loader, watch: Watch, series: Series, kill: bool) -> None:
    """Loads, shows, kills once in the middle, and waits until all has arrived."""
    bars = screen.Bars(loader.total, ("PostgreSQL", "Kafka", "S3"))
    killed = not kill
    thread = threading.Thread(target=loader.run, args=(series,), daemon=True)
    thread.start()
    settled = time.monotonic() + 120
    while True:
        values, note = watch.look(loader.written)
        bars.show(values, note)
        if not killed and loader.written > loader.total * 0.45:
            killed = True
            agent.kill()
            bars.show(values, note, force=True)
            bars.interrupt(screen.paint(f"kill -9 of the agent, {loader.written:,} rows in; PostgreSQL goes on writing", "1;31"))
            time.sleep(1.5)
            agent.start()
            bars.interrupt(screen.paint("started again", "1;32"))
        if loader.failure is not None:
            raise loader.failure
        if not thread.is_alive():
            if min(values.values()) >= loader.total:
                bars.show(values, note, force=True)
                return
            if time.monotonic() > settled:
                raise NotReady(f"not all rows have arrived; {agent.log}:\n{agent.running().tail()}")
        else:
            settled = time.monotonic() + 120
        agent.running().require_running()
        time.sleep(0.1)


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


def run(options: argparse.Namespace, lab: Lab) -> int:
    series = from_history(options.data) if options.data else generated()
    postgres, broker, store = start_servers(lab, options.mesh)
    postgres.create_database(DATABASE)
    connection = postgres.connect(DATABASE)
    create_tables(connection, AGENT_ROLE, gold_only=True)
    agent = configure(lab, postgres, broker, store)
    lake = Lake(store.access, BUCKET, NAME)

    screen.heading("sluice init, sluice run")
    screen.fact("configuration", str(agent.config))
    for line in agent.must("init").text.strip().splitlines()[-8:]:
        screen.say(line)
    auditor = Auditor(connection, GOLD_TABLES, agent, broker.brokers, broker.data, lake)
    agent.start().wait_ready()
    screen.good(f"streaming; http://127.0.0.1:{agent.port}/")

    screen.heading(f"Loading: {series.label}")
    if series.credit:
        screen.say(screen.paint(series.credit, "2"))
    if not broker.exact:
        screen.say(screen.paint("The agent is not killed in this run: without Apache Kafka's isolation a kill would leave ghosts that prove nothing.",
                                "33"))
    loader = Loader(lambda: postgres.connect(DATABASE), options.batch, options.seconds)
    loader.plan(series)
    watch = Watch(agent, broker.brokers, lake, auditor.topics)
    try:
        stream(agent, loader, watch, series, kill=broker.exact)
    finally:
        loader.stop()
    stored = read_progress(broker.brokers, NAME)
    screen.fact("position", stored[-1].raw if stored else "none")
    show_lake(lake, auditor.topics)
    exact = judge(agent, auditor)
    screen.heading("Stopping")
    code = agent.stop()
    (screen.good if code == 0 else screen.bad)(f"SIGTERM: the agent drained and ended with {code}")
    return 0 if exact and code == 0 else 1


def main() -> int:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    options = arguments()
    lab = Lab("sluice-demo-", keep=options.keep)
    code = 1
    try:
        code = run(options, lab)
    except KeyboardInterrupt:
        print("\n  interrupted: stopping everything", flush=True)
        code = 130
    except Exception as error:
        lab.keep = True
        screen.bad(f"{type(error).__name__}: {error}")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kill_all()
        if lab.keep:
            screen.fact("kept", str(lab.root))
        lab.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
