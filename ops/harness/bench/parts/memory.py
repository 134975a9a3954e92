"""Resident memory: in steady transactions, and in one transaction of five million rows; streaming alone, and with the sink in the process."""

from __future__ import annotations

from typing import Any

from ...agent import Agent
from ...postgres import AGENT_ROLE
from ..load import NARROW, VALUE
from ..measure import Run, peak_bytes, until
from ..servers import Servers, Stretch

# What is left in an open object counts only when it is put: soon.
SOON = {"s3": {"rotate": {"age": "5s"}}}


def run(servers: Servers) -> dict[str, Any]:
    rows = int(5_000_000 * servers.options.scale)
    result: dict[str, Any] = {"rows": rows}
    steady = servers.backlog()
    result["steady, with the sink"] = with_sink(servers, servers.agents["steady"], steady, "bench").facts
    print(f"  steady, with the sink: {result['steady, with the sink']}", flush=True)

    servers.connection.execute(NARROW.format(table="public.large"))
    servers.connection.execute(f"alter table public.large owner to {AGENT_ROLE}")
    alone, both = servers.agent("large", ["public.large"], socket=True), servers.agent("large_both", ["public.large"], socket=True, changes=SOON)
    servers.copy_slot(alone, "plain_large")
    stretch = Stretch("sluice_large", rows, servers.position())
    servers.connection.execute(f"insert into public.large select i, {VALUE} from generate_series(1, {rows}) i")
    stretch.end = servers.position()
    plain = servers.plain("plain_large", stretch, socket=True)
    streamed = servers.stream(alone, stretch)
    result |= {"pg_recvlogical": plain.facts, "streaming alone": streamed.facts, "ratio": round(streamed.rate / plain.rate, 4)}
    print(f"  {rows:,} rows in one transaction: pg_recvlogical {plain.facts}, sluice {streamed.facts}", flush=True)
    result["with the sink"] = with_sink(servers, both, stretch, "large").facts
    print(f"  with the sink: {result['with the sink']}", flush=True)
    servers.drop("plain_large", agents=(alone, both))
    servers.kafka.delete_topics([agent.topic(("public", "large")) for agent in (alone, both)])
    servers.connection.execute("drop table public.large")
    return result


def with_sink(servers: Servers, agent: Agent, stretch: Stretch, table: str) -> Run:
    """Both halves in one process, until every row is in Kafka and in an object. The rate is that of the stream beside the sink."""
    run = servers.stream(agent, stretch, half=None)
    written = 'sluice_object_records_total{topic="' + agent.topic(("public", table)) + '"}'
    until("all is in objects", lambda: agent.metrics().get(written, 0) >= stretch.rows, pause=0.2, timeout=300)
    peak = peak_bytes(agent.running().pid)
    agent.stop()
    return Run(run.rows, run.seconds, run.cpu, peak, run.rate)
