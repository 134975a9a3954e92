"""WAL to committed in Kafka, beside pg_recvlogical on the same WAL, over TCP and over the unix socket, as Linux makes it and of 1 MiB; Debezium where it is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from ...kafka import kafka_home
from .. import ways
from ..measure import Run, median, summary
from ..servers import DATABASE, Servers


def run(servers: Servers) -> dict[str, Any]:
    stretch = servers.backlog()
    servers.warm()
    runs: dict[str, dict[str, list[Run]]] = {way: {"pg_recvlogical": [], "sluice": []} for way in ways.measured()}
    for number in range(servers.options.rounds):
        for way, of in runs.items():
            # Which comes first alternates.
            with ways.sockets(way):
                for subject in list(of)[:: 1 if number % 2 == 0 else -1]:
                    if subject == "sluice":
                        of[subject].append(servers.stream(servers.agents[f"{way}{number}"], stretch))
                    else:
                        of[subject].append(servers.plain(f"plain_{way}{number}", stretch, socket=way != "tcp"))
        print(f"  round {number + 1}: " + "; ".join(
            f"{way}: " + ", ".join(f"{subject} {found[-1].rate:,.0f}/s {found[-1].cpu / stretch.rows * 1e6:.2f} CPU s" for subject, found in of.items())
            for way, of in runs.items()), flush=True)
    result: dict[str, Any] = {"rows": stretch.rows, "wal_bytes": stretch.end - stretch.first}
    for way, of in runs.items():
        ratios = [sluice.rate / plain.rate for sluice, plain in zip(of["sluice"], of["pg_recvlogical"], strict=True)]
        result[way] = {**{subject: summary(found) for subject, found in of.items()}, "ratio": round(median(ratios), 4),
                       "ratios": [round(ratio, 4) for ratio in ratios]}
    if servers.options.debezium is not None:
        result["debezium"] = debezium(servers)
        for way in runs:
            result[way]["of_debezium"] = round(result[way]["sluice"]["rows_per_second"] / result["debezium"]["rows_per_second"], 2)
    return result


def debezium(servers: Servers) -> dict[str, Any]:
    """By its own measure: from the first to the last visible record, so that its start is not in it."""
    done = subprocess.run(
        [sys.executable, str(servers.options.debezium / "measure.py"), "--dsn", servers.postgres.conninfo(DATABASE), "--publication", "sluice_tcp0",
         "--slot", "debezium", "--bootstrap", servers.kafka.brokers],
        env={**os.environ, "KAFKA_HOME": str(kafka_home())}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"Debezium's measure.py: exit {done.returncode}\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  debezium: {answer['rows_per_s']:,} rows/s", flush=True)
    return {"what": answer["peer"], "exactly_once": answer["exactly_once"], "tuned": answer["tuned"], "rows": answer["rows"],
            "rows_per_second": answer["rows_per_s"], "cpu_seconds_per_million": answer["cpu_s_per_million"], "peak_megabytes": answer["peak_rss_mb"]}
