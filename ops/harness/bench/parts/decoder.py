"""The decoder alone, on a recorded stream, on one core."""

from __future__ import annotations

import json
import struct
import subprocess
from typing import Any

from ...agent import REPOSITORY
from ..servers import Servers

MESSAGES = 300_000
SECONDS = 3


def run(servers: Servers) -> dict[str, Any]:
    stretch = servers.backlog()
    file = servers.lab.root / "recording"
    count = 0
    with file.open("wb") as output, servers.connection.cursor(name="recording", withhold=True) as cursor:
        cursor.execute("select (lsn - '0/0'::pg_lsn)::bigint, data from pg_logical_slot_peek_binary_changes('recording', null, %s,"
                       " 'proto_version', '1', 'publication_names', %s)", (MESSAGES, stretch.publication))
        while some := cursor.fetchmany(10_000):
            for position, message in some:
                output.write(struct.pack("<QI", position, len(message)) + message)
                count += 1
    program = REPOSITORY / ".build" / "release" / "decoder-bench"
    answers = []
    for _ in range(servers.options.rounds):
        done = subprocess.run([str(program), str(file), str(SECONDS)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        answers.append(json.loads(done.stdout))
    result: dict[str, Any] = {"messages": count, "bytes": file.stat().st_size - 12 * count}
    for kind in ("decode", "encode"):
        # The best of the rounds: one core's own speed, which others on the machine can only lower.
        best = max((answer[kind] for answer in answers), key=lambda one: one["bytes"] / one["cpu"])
        result[kind] = {"gigabytes_per_second": round(best["bytes"] / best["cpu"] / 1e9, 3), "rows_per_second": round(best["rows"] / best["cpu"]),
                        "written_gigabytes_per_second": round(best["written"] / best["cpu"] / 1e9, 3)}
    print(f"  {result}", flush=True)
    return result
