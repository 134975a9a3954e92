"""How rate and memory change with tables, partitions, the size of a row, and the rows of a transaction; each beside pg_recvlogical.

Over the unix socket: its buffers hold little, and the stretches of WAL are short. A point's figures are those of the round with the
median ratio; where each row goes into another table there is one round, since it takes as long as all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...postgres import AGENT_ROLE
from ..load import NARROW, VALUE
from ..servers import Servers, Stretch

POOL = 400_000  # bytes that large rows are cut from


@dataclass
class Point:
    axis: str
    at: int
    rows: int
    tables: int = 1
    partitions: int = 1
    text: int = 100  # bytes of the column v
    batch: int = 1000  # rows of a transaction
    mixed: bool = False  # each row of a transaction goes into another table

    @property
    def name(self) -> str:
        return f"{self.axis}_{self.at}{'_mixed' if self.mixed else ''}"


def points(scale: float) -> list[Point]:
    def rows(count: int) -> int:
        return max(1000, int(count * scale))
    return [
        *(Point("tables", n, rows(1_000_000), tables=n) for n in (1, 10, 100, 1000)),
        Point("tables", 1000, rows(300_000), tables=1000, mixed=True),
        *(Point("partitions", n, rows(1_000_000), partitions=n) for n in (1, 10, 50)),
        Point("row_bytes", 100, rows(400_000)),
        Point("row_bytes", 1000, rows(200_000), text=1000),
        Point("row_bytes", 10_000, rows(30_000), text=10_000, batch=100),
        Point("row_bytes", 100_000, max(100, int(3000 * scale)), text=100_000, batch=10),
        Point("transaction_rows", 1, rows(80_000), batch=1),
        Point("transaction_rows", 1000, rows(400_000)),
        Point("transaction_rows", 1_000_000, rows(1_000_000), batch=rows(1_000_000)),
    ]


def run(servers: Servers) -> dict[str, Any]:
    result: dict[str, Any] = {"points": []}
    servers.warm()
    servers.connection.execute("create schema if not exists growth")
    pool(servers)
    for point in points(servers.options.scale):
        found = measure(servers, point)
        result["points"].append(found)
        print(f"  {point.name}: {found['rows_per_second']:,} rows/s, {found['megabytes_per_second']} MB/s, {found['ratio']:.2f} of pg_recvlogical,"
              f" {found['cpu_seconds_per_million']:.2f} CPU s, {found['peak_megabytes']:.0f} MB", flush=True)
    servers.connection.execute("drop schema growth cascade")
    return result


def pool(servers: Servers) -> None:
    """External bytes: a piece of them is read without the rest; of text it would not be."""
    servers.connection.execute("create table growth.pool (v bytea)")
    servers.connection.execute("alter table growth.pool alter v set storage external")
    servers.connection.execute("insert into growth.pool select convert_to(string_agg(md5(i::text), ''), 'UTF8') from generate_series(1, %s) i", (POOL // 32,))


def measure(servers: Servers, point: Point) -> dict[str, Any]:
    run = servers.connection.execute
    schema = f"growth_{point.name}"
    run(f"create schema {schema}")
    for number in range(point.tables):
        run(NARROW.format(table=f"{schema}.t{number}"))
        if point.text > 1000:
            run(f"alter table {schema}.t{number} alter v set storage external")
        run(f"alter table {schema}.t{number} owner to {AGENT_ROLE}")
    run(f"alter schema {schema} owner to {AGENT_ROLE}")
    agent = servers.agent(f"g_{point.name}", [f"{schema}.*"], socket=True, changes={"kafka": {"partitions": point.partitions}})
    slot = f"plain_g_{point.name}"
    # First without being counted: a broker's first entries in the indexes of a new partition are page faults in two sparse files,
    # and where the system reads far ahead it clears some megabytes for each.
    servers.stream(agent, written(servers, schema, point, 0))
    found = []
    for turn in range(1 if point.mixed else servers.options.rounds):
        servers.copy_slot(agent, slot)
        stretch = written(servers, schema, point, point.rows * (turn + 1))
        # Which is first alternates, as in `stream`.
        sluice = servers.stream(agent, stretch) if turn % 2 else None
        plain = servers.plain(slot, stretch, socket=True)
        sluice = sluice or servers.stream(agent, stretch)
        servers.drop(slot)
        found.append((sluice.rate / plain.rate, sluice, plain))
    found.sort(key=lambda one: one[0])
    ratio, sluice, plain = found[len(found) // 2]
    servers.drop(agents=(agent,))
    servers.kafka.delete_topics([agent.topic((schema, f"t{number}")) for number in range(point.tables)])
    run("set client_min_messages = error")
    for first in range(0, point.tables, 100):  # a transaction holds so many locks and no more
        run("".join(f"drop table {schema}.t{number};" for number in range(first, min(first + 100, point.tables))))
    run(f"drop schema {schema} cascade")
    payload = point.rows * (point.text + 8)
    return {"axis": point.axis, "at": point.at, "mixed": point.mixed, "rows": point.rows, **sluice.facts,
            "megabytes_per_second": round(payload / point.rows * sluice.rate / 1e6, 1), "ratio": round(ratio, 4), "ratios": [round(one[0], 4) for one in found],
            "cpu_seconds_per_gigabyte": round(sluice.cpu / payload * 1e9, 2), "pg_recvlogical": plain.facts}


def written(servers: Servers, schema: str, point: Point, after: int) -> Stretch:
    stretch = Stretch(f"sluice_g_{point.name}", point.rows, servers.position())
    load(servers.connection.execute, schema, point, after)
    stretch.end = servers.position()
    servers.connection.execute("checkpoint")
    return stretch


def load(run: Callable[..., Any], schema: str, point: Point, after: int) -> None:
    """The point's rows, with keys after this one."""
    # Commits that do not wait for the disk: how the rows came in is not what is measured.
    run("set synchronous_commit = off")
    value = VALUE if point.text == 100 else (
        f"convert_from(substr((select v from growth.pool), 1 + (i * 7919 % {POOL - point.text})::int, {point.text}), 'UTF8')")
    if point.batch == 1 or point.mixed:
        tables = point.tables
        run(f"""do $$ begin
                  for i in {after + 1} .. {after + point.rows} loop
                    execute format('insert into {schema}.t%s values ($1, $2)', i % {tables}) using i::bigint, {value};
                    if i % {point.batch} = 0 then commit; end if;
                  end loop;
                end $$""")
    else:
        for turn, first in enumerate(range(after + 1, after + point.rows + 1, point.batch)):
            last = min(first + point.batch - 1, after + point.rows)
            run(f"insert into {schema}.t{turn % point.tables} select i, {value} from generate_series({first}::bigint, {last}::bigint) i")
    run("set synchronous_commit = on")
