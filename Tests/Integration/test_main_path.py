"""The way of a row, from `init` to the object, and what the commands say on the way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import ConfigResource
from conftest import SiteMaker

from harness.agent import Agent, binary
from harness.campaign.__main__ import failpoints
from harness.kafka import KAFKA_PASSWORD
from harness.oracle.topics import read_progress, read_topics
from harness.postgres import AGENT_ROLE
from harness.processes import on_a_terminal, wait_until
from harness.site import Site, use_secure_kafka
from harness.stores import Access, Moto


def slots(site: Site) -> set[str]:
    return {row[0] for row in site.connection.execute("select slot_name from pg_replication_slots where database = %s", (site.database,))}


def publications(site: Site) -> set[str]:
    return {row[0] for row in site.connection.execute("select pubname from pg_publication")}


def test_init_dry_run_prints_the_sql_and_makes_nothing(site: Site) -> None:
    before = site.stack.kafka.topics()
    done = site.agent.must("init", "--dry-run")
    for piece in ("CREATE PUBLICATION", site.agent.slot, "dadostesouroipca_gold", "publish_via_partition_root"):
        assert piece.lower() in done.out.lower(), done.text
    assert not slots(site) and not publications(site)
    assert site.stack.kafka.topics() == before


def test_init_twice_then_check(site: Site) -> None:
    assert site.agent.command("check").code == 1, "nothing exists yet"
    site.sql("insert into public.documents values (1, 'was there before', null, null)")
    first = site.agent.must("init")
    assert "public.documents: its 1 existing rows will not be sent" in first.out, first.text
    assert site.agent.slot in slots(site) and site.agent.slot in publications(site)
    topics = {site.agent.topic(table) for table in site.tables} | {site.agent.progress_topic}
    assert topics <= site.stack.kafka.topics()
    for topic in topics:
        wanted = {"message.timestamp.type": "CreateTime", "min.insync.replicas": "1"}
        wanted |= {"cleanup.policy": "compact"} if topic == site.agent.progress_topic else {"cleanup.policy": "delete", "retention.ms": "604800000"}
        resource, admin = ConfigResource(ConfigResource.Type.TOPIC, topic), site.stack.kafka.admin()
        found = admin.describe_configs([resource])[resource].result(20)
        assert {name: found[name].value for name in wanted} == wanted, topic
    stored = read_progress(site.stack.kafka.brokers, site.agent.name)[-1]
    row = site.connection.execute("select confirmed_flush_lsn - '0/0'::pg_lsn, plugin from pg_replication_slots where slot_name = %s",
                                  (site.agent.slot,)).fetchone()
    assert row is not None and int(row[0]) == stored.lsn and row[1] == "pgoutput"
    if site.stack.name.startswith("pg18"):
        assert site.connection.execute("select failover from pg_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone() == (True,)
    site.agent.must("init")
    assert read_progress(site.stack.kafka.brokers, site.agent.name)[-1].lsn == stored.lsn, "a second init changes no position"
    site.agent.must("check")


def test_rows_arrive_everywhere(make: SiteMaker) -> None:
    site = make().init().run()
    with site.workload() as load:
        time.sleep(6)
        assert site.agent.http("/healthz")[0] == 200
        status = site.agent.status()
        assert (status["name"], status["state"], status["source"]["slot"]) == (site.agent.name, "streaming", site.agent.slot), status
        metrics = site.agent.metrics()
        assert metrics and all(name.startswith("sluice_") for name in metrics), sorted(metrics)[:5]
        assert site.agent.http("/status")[0] == 200
    print(dict(load.counts))
    verdict = site.auditor.verdict()
    print(verdict.line())
    assert verdict.clean, verdict.report()
    assert verdict.lines > 500 and verdict.kafka_transactions
    # The oracle itself: an object that is written again as it was.
    client = site.lake.client()
    key = f"lake/{sorted(site.lake.listing(site.auditor.topics))[0]}"
    whole = client.get_object(Bucket=site.lake.bucket, Key=key)
    body, metadata = whole["Body"].read(), whole["Metadata"]
    client.put_object(Bucket=site.lake.bucket, Key=key, Body=body, Metadata=metadata)
    again = site.auditor.verdict()
    assert again.kinds == {"s3: rewritten"} and again.s3["rewritten"] == 1, again.report()
    final = site.agent.metrics()
    assert final["sluice_sink_dropped_total"] == 0
    # What the slot costs the server, as it says itself: alerts go by it.
    kept = "select pg_current_wal_lsn() - restart_lsn from pg_replication_slots where slot_name = %s"

    def agrees() -> bool:
        row = site.connection.execute(kept, (site.agent.slot,)).fetchone()
        return row is not None and abs(site.agent.metrics()["sluice_slot_retained_wal_bytes"] - float(row[0])) < max(65536, float(row[0]) / 10)
    wait_until("the metric says what the server keeps for the slot", agrees, 30, pause=1)
    progress = [json.loads(p.raw) for p in read_progress(site.stack.kafka.brokers, site.agent.name)]
    assert {"v", "system_id", "timeline", "slot", "epoch", "lsn", "commit_lsn", "ordinal", "commit_ts", "options", "state"} <= set(progress[-1])
    assert progress[-1]["slot"] == site.agent.slot and progress[-1]["state"] == "streaming"

    # verify agrees, until something is damaged. While an agent streams it waits for an idle position: once is enough.
    site.agent.must("verify")
    assert site.agent.stop() == 0
    client.delete_object(Bucket=site.lake.bucket, Key=key)
    gone = site.agent.command("verify")
    assert gone.code == 1 and "records are missing" in gone.out, "GONE" + gone.text
    client.put_object(Bucket=site.lake.bucket, Key=key, Body=body, Metadata=metadata)
    site.agent.must("verify")
    stray = Producer({"bootstrap.servers": site.stack.kafka.brokers})
    topic = site.agent.topic(("public", "documents"))
    last = max((r for found in read_topics(site.stack.kafka.brokers, [topic]).values() for r in found if r.value and b'"after":{' in r.value),
               key=lambda r: r.position_text)
    document = json.loads(last.value or b"")
    document["after"]["id"] = 424242
    stray.produce(topic, key=b'{"id":424242}', value=json.dumps(document).encode(), headers=[("sluice.pos", last.position_text.encode())])
    assert stray.flush(10) == 0
    more = site.agent.command("verify", "--table", "public.documents")
    assert more.code == 1 and "extra: 424242" in more.out, more.text  # a row that PostgreSQL does not have


@pytest.mark.only("pg18")  # moto keeps what a put asks for, and tells it
def test_every_object_is_put_as_the_bucket_asks(make: SiteMaker) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    site = make({"s3": {"encryption": "aws:kms", "kms_key_id": key, "acl": "public-read"}}).init().run()
    site.sql("insert into public.documents select n, 'x', null, now() from generate_series(1, 20) n")
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes == 20, verdict.report()
    client = site.lake.client()
    found = {one["Key"]: client.head_object(Bucket=site.lake.bucket, Key=one["Key"])
             for one in client.list_objects_v2(Bucket=site.lake.bucket)["Contents"]}
    kinds = {kind for kind in ("_sluice.json", "_sluice/", "+0000000") if any(kind in name for name in found)}
    assert kinds == {"_sluice.json", "_sluice/", "+0000000"}, sorted(found)
    for name, head in found.items():
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key), name
        grants = client.get_object_acl(Bucket=site.lake.bucket, Key=name)["Grants"]
        assert any(grant["Permission"] == "READ" and grant["Grantee"].get("URI", "").endswith("/AllUsers") for grant in grants), name
    assert site.agent.stop() == 0


def test_restart_goes_on_where_it_was(make: SiteMaker) -> None:
    site = make().init()
    for round_ in range(3):
        site.run()
        site.sql(*[f"insert into public.documents values ({round_ * 100 + n}, 'x', 'y', now())" for n in range(5)])
        assert site.agent.stop() == 0
        site.sql(f"insert into public.documents values ({round_ * 100 + 50}, 'written while it was off', null, null)")
    site.run()
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes == 18, verdict.report()


@pytest.mark.seldom
def test_a_stop_commits_what_is_whole_beside_what_it_cuts_off(make: SiteMaker) -> None:
    """In one Kafka transaction with the begin of a large one, which comes again."""
    # What has been read by then stays in memory, however far the source is ahead of the point.
    site = make({"kafka": {"transaction": {"interval": "5s"}}, "limits": {"memory": "512MiB"}}).init()
    site.agent.program = failpoints()
    assert site.agent.program is not None, "failpoints need the debug build: swift build --build-tests"
    site.agent.start("--only", "stream", env={"SLUICE_FAILPOINT": "after-produce:50:stop"}).wait_ready()
    site.sql("insert into public.documents values (1, 'x', null, null)")
    topic = site.agent.topic(("public", "documents"))

    def ids() -> set[int]:
        found = read_topics(site.stack.kafka.brokers, [topic])
        return {json.loads(record.key)["id"] for records in found.values() for record in records if record.key}
    wait_until("the first is in Kafka", lambda: ids() == {1}, 30)
    site.sql("insert into public.documents values (2, 'x', null, null)",
             "insert into public.documents select n, repeat('x', 1000), null, null from generate_series(100, 60000) n")
    pid = site.agent.running().pid
    wait_until("it has stopped at the point", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 60)
    assert site.agent.running().stop() == 0
    assert ids() == {1, 2}, "whole, and not cut off"
    site.agent.program = None
    site.run()
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes == 2 + 59_901, verdict.report()


def test_over_the_unix_socket(make: SiteMaker) -> None:
    """And no thread takes the processor from the server that it shares it with."""
    site = make()
    site.agent.settings["postgres"] = {"url": site.stack.postgres.agent_socket_url(site.database),
                                       "tables": site.agent.settings["postgres"]["tables"]}
    site.agent.write()
    site.init().run()
    site.sql("insert into public.documents values (1, 'x', 'y', now())")
    assert site.auditor.verdict().clean
    threads = os.listdir(f"/proc/{site.agent.running().pid}/task")
    assert len(threads) > 5 and {os.sched_getscheduler(int(thread)) for thread in threads} == {os.SCHED_BATCH}


def test_tables_by_glob_and_a_partition_count(make: SiteMaker) -> None:
    from harness.workload import GOLD_TABLES
    site = make({"postgres": {"tables": ["public.*_gold"]}, "kafka": {"partitions": 5}}, tables=GOLD_TABLES).init().run()
    with site.workload(large_every=0):
        time.sleep(2)
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes > 50, verdict.report()
    assert site.agent.topic(("public", "documents")) not in site.stack.kafka.topics()
    found = read_topics(site.stack.kafka.brokers, site.auditor.topics)
    assert sorted(found) == sorted((topic, number) for topic in site.auditor.topics for number in range(5))
    assert sum(1 for records in found.values() if records) > 5, "keys are spread over the partitions"


def test_the_catalog_is_asked_over_one_connection_which_may_be_lost(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.documents values (1, 'first', null, null)")
    asking = "from pg_stat_activity where datname = %s and query like '%%pg_catalog.pg_index%%' and pid <> pg_backend_pid()"
    # It is kept for the next table, some seconds.
    ended = wait_until("the session that asks the catalog is ended", lambda: site.connection.execute(
        f"select pg_terminate_backend(pid) {asking}", (site.database,)).fetchall(), 30)
    assert ended == [(True,)]
    site.sql("insert into public.positions values (1, 'LTN', '2030-01-01', 1, true, null)")
    verdict = site.auditor.verdict()
    assert verdict.clean, verdict.report()
    assert "the session ended" not in site.agent.log.read_text()
    wait_until("it is closed", lambda: not site.connection.execute(f"select {asking}", (site.database,)).fetchall(), 60)


@pytest.mark.seldom
def test_the_keys_of_many_tables_are_asked_for_at_once_and_a_later_change_is_seen(make: SiteMaker) -> None:
    """A backlog over forty tables costs few questions, and a key that is changed after them is asked for again: with replica identity FULL
    nothing but the catalog says what the key is."""
    tables = [("public", f"many_{number}") for number in range(40)]
    site = make(tables=tables)
    for _, table in tables:
        site.sql(f"create table {table} (id int primary key, other int not null)", f"alter table {table} replica identity full",
                 f"alter table {table} owner to {AGENT_ROLE}")
    site.init()
    site.sql(*(f"insert into {table} values (1, 2)" for _, table in tables))
    log = site.stack.postgres.log
    before = log.stat().st_size
    site.sql(f"alter role {AGENT_ROLE} set log_statement = 'all'")
    site.run()
    site.auditor.wait_kafka()
    site.sql(f"alter role {AGENT_ROLE} reset log_statement", "alter table many_7 drop constraint many_7_pkey",
             "alter table many_7 add primary key (other)", "insert into many_7 values (3, 4)")
    site.auditor.wait_kafka()
    with log.open() as lines:
        lines.seek(before)
        questions = sum("FROM pg_catalog.pg_index i" in line for line in lines)
    # One for the tables at each start of a session, one for the first table, one for all.
    assert 0 < questions < 10, questions
    keys = {table: [r.key for found in read_topics(site.stack.kafka.brokers, [site.agent.topic(("public", table))]).values() for r in found]
            for _, table in tables}
    assert sorted(keys.pop("many_7")) == [b'{"id":1}', b'{"other":4}']
    assert set(map(tuple, keys.values())) == {(b'{"id":1}',)}


@pytest.mark.seldom
def test_a_large_transaction_is_one(make: SiteMaker) -> None:
    """200,000 rows in one transaction and small ones beside it; resident memory stays near its bound."""
    site = make({"s3": {"rotate": {"bytes": "16MiB"}}}).init().run()
    site.sql("insert into public.positions select n, 'bond', date '2026-01-01', n, true, null from generate_series(1, 200000) n",
             "insert into public.documents values (1, 'after', null, null)")
    peak = 0

    def caught_up() -> bool:
        nonlocal peak
        text = (f"/proc/{site.agent.running().pid}/status")
        with open(text) as lines:
            peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        stored = read_progress(site.stack.kafka.brokers, site.agent.name)
        return stored[-1].lsn >= site.auditor.committed()[-1].end_lsn
    wait_until("the large transaction is stored", caught_up, 90, pause=0.5)
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes == 200_001, verdict.report()
    assert peak < 250_000, f"{peak} kB resident"


def test_tables_whose_names_need_quotes(make: SiteMaker) -> None:
    """A dot, a blank, a capital letter: in the configuration in double quotes, as in SQL."""
    site = make({"postgres": {"tables": ['"Mixed Schema"."Odd Table"', '"dotted.schema"."v1.*"']}}, tables=[])
    for name in ('"Mixed Schema"."Odd Table"', '"dotted.schema"."v1.a"'):
        schema = name.split('".')[0] + '"'
        site.sql(f"create schema {schema} authorization sluice", f"create table {name} (id bigint primary key, v text)",
                 f"alter table {name} owner to sluice")
    site.init().run()
    site.sql("""insert into "Mixed Schema"."Odd Table" values (1, 'a')""", """insert into "dotted.schema"."v1.a" values (1, 'b'), (2, 'c')""")
    topics = [f"{site.agent.name}.Mixed_Schema.Odd_Table", f"{site.agent.name}.dotted.schema.v1.a"]
    wait_until("all rows are in Kafka", lambda: sum(len(found) for found in read_topics(site.stack.kafka.brokers, topics).values()) == 3, 30)
    wait_until("and in objects", lambda: all(any(topic in name for name in site.lake.listing(topics)) for topic in topics), 60)
    verified = site.agent.must("verify", "--table", '"Mixed Schema"."Odd Table"')
    assert "Odd Table" in verified.out and "v1.a" not in verified.out, verified.text
    assert site.agent.stop() == 0


def test_a_service_names_the_database(make: SiteMaker) -> None:
    """libpq looks it up where it connects: the string itself does not say which database it is."""
    site = make({"postgres": {"url": "service=gold"}})
    file = site.agent.folder / "pg_service.conf"
    file.write_text(f"[gold]\nhost=127.0.0.1\nport={site.stack.postgres.port}\ndbname={site.database}\nuser={AGENT_ROLE}\n")
    site.agent.env["PGSERVICEFILE"] = str(file)
    site.init().run("--only", "stream")
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    topic = site.agent.topic(("public", "documents"))
    wait_until("the row is in Kafka", lambda: any(read_topics(site.stack.kafka.brokers, [topic]).values()), 30)
    value = next(record.value for found in read_topics(site.stack.kafka.brokers, [topic]).values() for record in found)
    assert value is not None and json.loads(value)["source"]["db"] == site.database
    site.agent.must("check")
    assert site.agent.stop() == 0


def test_kafka_over_tls_with_a_password(make: SiteMaker) -> None:
    """As managed clusters want it."""
    site = make(tables=[("public", "documents")])
    use_secure_kafka(site)
    site.init().run()
    site.sql("insert into public.documents values (1, 'a', 'b', now())")
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes == 1, verdict.report()
    site.agent.must("check")
    assert site.agent.stop() == 0
    site.agent.must("verify")
    assert all(KAFKA_PASSWORD not in text for text in (site.agent.log.read_text(), site.agent.config.read_text()))


@contextmanager
def container_service(access: Access, authorization: str) -> Iterator[str]:
    """The keys of a role, as a container's own service gives them to whoever shows the token: its address."""
    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["Authorization"] == authorization else 403)
            self.end_headers()
            self.wfile.write(json.dumps({
                "AccessKeyId": access.access_key, "SecretAccessKey": access.secret, "Token": access.token,
                "Expiration": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}).encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()


@pytest.mark.only("pg18")  # its store knows temporary keys
def test_each_way_to_the_keys_of_the_store(make: SiteMaker) -> None:
    """A sink for each of them, a partition for each sink: all write."""
    site = make({"kafka": {"partitions": 5}, "s3": {"rotate": {"age": "1s"}}}, tables=[("public", "documents")])
    store = site.stack.store
    assert isinstance(store, Moto)
    keys = [store.session() for _ in range(5)]
    assert len({one.secret for one in keys}) == 5

    def file(name: str, text: str) -> str:
        path = site.agent.folder / name
        path.write_text(text)
        return str(path)

    def variables(access: Access) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": access.access_key, "AWS_SECRET_ACCESS_KEY": access.secret, "AWS_SESSION_TOKEN": access.token or ""}

    def profile(name: str, access: Access) -> str:
        return f"[{name}]\n" + "".join(f"{key.lower()} = {value}\n" for key, value in variables(access).items())

    none = {"access_key_id": None, "secret_access_key_file": None}
    # A default profile whose keys are wrong: whoever takes it where something goes before it is refused.
    refused = profile("default", Access("", "AKIAWRONG", "wrong", "wrong"))
    with container_service(keys[4], "Bearer of the pod") as address:
        ways = {
            "session-file": ({"access_key_id": keys[0].access_key, "secret_access_key_file": file("secret", keys[0].secret + "\n"),
                              "session_token_file": file("token", (keys[0].token or "") + "\n")}, {}),
            "environment": (none, {**variables(keys[1]), "AWS_SHARED_CREDENTIALS_FILE": file("refused", refused)}),
            "profile": ({**none, "profile": "lake"}, {**variables(Access("", "AKIAWRONG", "wrong", "wrong")),
                                                      "AWS_SHARED_CREDENTIALS_FILE": file("two", refused + profile("lake", keys[2]))}),
            "default-profile": (none, {"AWS_SHARED_CREDENTIALS_FILE": file("one", profile("default", keys[3]))}),
            "container": (none, {"AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent",
                                 "AWS_CONTAINER_CREDENTIALS_FULL_URI": address, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer of the pod"}),
        }
        site.init().run("--only", "stream")
        sinks = [site.twin(way, {"s3": changes}).start("--only", "sink", env=env) for way, (changes, env) in ways.items()]
        for sink in sinks:
            sink.wait_ready()

        def written() -> bool:
            site.sql("insert into public.documents select (select count(*) from public.documents) + n, 'x', null, null from generate_series(1, 50) n")
            return all(count(sink, "sluice_objects_total") > 0 for sink in sinks)
        wait_until("each sink has written an object", written, 60, pause=0.5)
        verdict = site.auditor.verdict()
        assert verdict.clean, verdict.report()
        for sink in sinks:
            sink.running().send(signal.SIGTERM)
        assert [sink.running().wait(30) for sink in sinks] == [0] * 5 and site.agent.stop() == 0
    told = "".join(sink.log.read_text() for sink in sinks)
    assert not [one for one in keys if one.secret in told or (one.token or "") in told]


def count(agent: Agent, name: str) -> float:
    return sum(value for sample, value in agent.metrics().items() if sample.split("{")[0] == name)


@pytest.mark.parametrize(("environment", "coloured"), [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
                         ids=["terminal", "dumb", "no colour"])
def test_status_shows_colour_where_it_is_wanted(site: Site, environment: dict[str, str], coloured: bool) -> None:
    site.init().run()
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    shown = on_a_terminal([str(binary()), "status", "-c", str(site.agent.config)], {**inherited, **site.agent.env, **environment})
    assert site.agent.slot.encode() in shown and (b"\x1b[" in shown) == coloured, shown
