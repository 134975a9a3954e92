"""`ops/oracle`: the oracle for any running agent.

Before the load:   ops/oracle --postgres "dbname=gold" --create
After it, quiet:   ops/oracle --postgres "dbname=gold" --brokers 127.0.0.1:9092 --name tesouro --tables public.a,public.b \\
                     --s3 lake/tesouro --endpoint http://127.0.0.1:9000 --kafka-data /var/lib/kafka/data

It prints one line with its counts, and ends with 0 if nothing was lost, doubled, torn, disordered or wrong, else with 1.
Credentials for S3 are taken from AWS_* variables. Without --kafka-data the borders of Kafka transactions are not checked.
The slot holds WAL back until --drop removes it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import psycopg

from .audit import Lake
from .oracle.borders import read_borders
from .oracle.checks import Expectation, judge
from .oracle.source import create_slot, published, read_slot, shapes
from .oracle.topics import read_progress, read_topics
from .stores import Access


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ops/oracle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", required=True, help="libpq URI or key=value string; the role needs REPLICATION")
    parser.add_argument("--slot", default="sluice_oracle", help="the oracle's own slot (default sluice_oracle)")
    parser.add_argument("--create", action="store_true", help="make the slot, and end")
    parser.add_argument("--drop", action="store_true", help="drop the slot, and end")
    parser.add_argument("--brokers")
    parser.add_argument("--name", help="the agent's name")
    parser.add_argument("--tables", help="schema.table, separated by commas")
    parser.add_argument("--topic", default="{name}.{schema}.{table}", help="the agent's template of topic names")
    parser.add_argument("--envelope", default="debezium", choices=["debezium", "flat"])
    parser.add_argument("--no-tombstones", action="store_true")
    parser.add_argument("--s3", help="bucket/prefix")
    parser.add_argument("--endpoint", default="https://s3.amazonaws.com")
    parser.add_argument("--folder", type=Path, help="a file:// store instead of S3")
    parser.add_argument("--kafka-data", type=Path, action="append", default=[], help="a broker's log.dirs; once for each broker")
    parser.add_argument("--running", action="store_true", help="the sink may be behind: records after its last object are no loss")
    options = parser.parse_args()
    if not (options.create or options.drop) and not (options.brokers and options.name and options.tables):
        parser.error("--brokers, --name and --tables are needed")
    return options


def lake_of(options: argparse.Namespace) -> Lake | None:
    if options.folder:
        return Lake(folder=options.folder)
    if not options.s3:
        return None
    bucket, _, prefix = options.s3.partition("/")
    secrets = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    access = Access(options.endpoint, secrets["AWS_ACCESS_KEY_ID"] or "", secrets["AWS_SECRET_ACCESS_KEY"] or "",
                    secrets["AWS_SESSION_TOKEN"])
    return Lake(access, bucket, prefix)


def main() -> int:
    options = arguments()
    with psycopg.connect(options.postgres, autocommit=True) as connection:
        if options.create:
            create_slot(connection, options.slot)
            return 0
        if options.drop:
            connection.execute("select pg_drop_replication_slot(%s)", (options.slot,))
            return 0
        tables = [(schema, table) for schema, _, table in (name.partition(".") for name in options.tables.split(","))]
        how = Expectation(
            shapes(connection, tables),
            lambda table: re.sub(r"[^A-Za-z0-9._-]", "_", options.topic.format(name=options.name, schema=table[0], table=table[1])),
            options.envelope, not options.no_tombstones)
        source = published(read_slot(connection, options.slot), tables)
    topics = [how.topic_of(table) for table in tables]
    records = read_topics(options.brokers, topics)
    progress_topic = f"sluice.{options.name}.progress"
    borders = read_borders(options.kafka_data, f"sluice.{options.name}", [*records, (progress_topic, 0)]) if options.kafka_data else None
    lake = lake_of(options)
    verdict = judge(source, records, how, borders=borders, progress=read_progress(options.brokers, options.name),
                    progress_topic=progress_topic, objects=lake.read(topics) if lake else None, complete=not options.running)
    print(verdict.report())
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
