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
from ..postgres import AGENT_ROLE
from ..processes import Lab, NotReady, kill_all
from ..workload import GOLD_TABLES, create_tables
from . import chain, screen
from .loader import Loader
from .parts import BUCKET, DATABASE, NAME, ORIGINAL_TOPICS, configure, judge, show_lake, start_servers
from .series import Series, from_history, generated
from .watch import Watch


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ops/demo", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with historico/uniao_2002_2025_ipca_pre.csv.gz (real Treasury prices)")
    parser.add_argument("--chain", action="store_true",
                        help="from raw files on: Bronze, Silver and Gold by Spark, three micro-batches through Airflow's scheduler")
    parser.add_argument("--original-topics", action="store_true",
                        help="the topics of the pipeline that this one replaces: postgres-dadostesouroipca_gold, ...")
    parser.add_argument("--batch", type=int, default=60, help="rows of a micro-batch (default 60; not with --chain)")
    parser.add_argument("--seconds", type=float, default=25, help="how long the load is spread over (default 25; not with --chain)")
    parser.add_argument("--mesh", action="store_true", help="use the in-memory broker even where Apache Kafka can be had")
    parser.add_argument("--keep", action="store_true", help="keep the folder with data, logs and configuration")
    return parser.parse_args()


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


def run(options: argparse.Namespace, lab: Lab) -> int:
    series = from_history(options.data) if options.data else generated()
    postgres, broker, store = start_servers(lab, options.mesh)
    postgres.create_database(DATABASE)
    connection = postgres.connect(DATABASE)
    create_tables(connection, AGENT_ROLE, gold_only=True)
    agent = configure(lab, postgres, broker, store, ORIGINAL_TOPICS if options.original_topics else None)
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
        if options.chain:
            code = chain.run(options.data, lab, options.mesh, ORIGINAL_TOPICS if options.original_topics else None)
        else:
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
