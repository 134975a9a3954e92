"""Gaps (C8): each is refused with its kind, both LSNs and the loss; and what the refusal names leads out of it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from conftest import DOCUMENTS, ServerMaker, SiteMaker, configure, insert, progress

from harness.agent import Done, merge
from harness.oracle.source import parse_lsn
from harness.oracle.topics import read_topics
from harness.postgres import SUPERUSER, Postgres
from harness.processes import wait_until
from harness.site import Site, Stack
from harness.workload import GOLD_TABLES, create_tables


def rows(site: Site) -> dict[int, int]:
    """The documents that Kafka shows, each with the epoch of its last record."""
    found = {}
    for records in read_topics(site.stack.kafka.brokers, [site.agent.topic(("public", "documents"))]).values():
        for record in records:
            if record.key and record.position:
                found[int(json.loads(record.key)["id"])] = record.position.epoch
    return found


def wait_row(site: Site, number: int) -> int:
    """Until the document is in Kafka; its epoch."""
    def there() -> int:
        site.agent.running().require_running()
        return rows(site).get(number, 0)
    return int(str(wait_until(f"document {number} is in Kafka (log: {site.agent.log})", there, 60, pause=0.3)))


def streaming(site: Site) -> None:
    """Row 1 is in Kafka, and the agent runs."""
    site.agent.must("init")
    site.run("--only", "stream")
    insert(site, 1)
    wait_row(site, 1)


def stopped(site: Site) -> Site:
    """Rows 1 and 2 are in Kafka, and the agent has stopped."""
    site.agent.must("init")
    site.run("--only", "stream")
    insert(site, 1, 2)
    wait_row(site, 2)
    assert site.agent.stop() == 0
    return site


def refused(site: Site, kind: str, *texts: str, running: bool = False, empty: bool = False) -> str:
    """`empty`: Kafka holds no transaction yet."""
    if not running:
        site.agent.start("--only", "stream")
    code = site.agent.running().wait(60)
    log = site.agent.said()
    assert code == 3, f"exit {code}\n{log[-3000:]}"
    last = log[max(0, log.rindex("kind: ") - 600):]
    for text in (f"kind: {kind}", "--accept-gap", *texts):
        assert text in last, last
    if kind != "no-position":
        assert "stored position: " in last and "available from: " in last, last
        assert empty or "the last transaction in Kafka was committed at " in last, last
    # No command but the one that says so goes over a gap. What is wrong with the publication itself is found before it.
    before = progress(site)
    plain = site.agent.command("init")
    assert plain.code == (78 if plain.text.count("problem ") else 3) and progress(site) == before, plain.text
    assert f"kind: {kind}" in plain.text or plain.code == 78 and kind in ("table-unpublished", "operation-unpublished"), plain.text
    return last


def led_out(site: Site, kind: str, *, missing: int | None = None, extra: Collection[int] = (), epoch: int = 2) -> None:
    """The loss is accepted, kept on record, and gone on from. `missing`: what was lost of it; `extra`: what Kafka has and the table has not."""
    done = site.agent.must("init", "--accept-gap")
    assert "gap accepted" in done.out and f"kind: {kind}" in done.out, done.text
    stored = progress(site)
    gap = stored["gaps"][-1]
    assert stored["epoch"] == gap["epoch"] and gap["kind"] == kind and gap["to"] != "0/0", stored
    if epoch:
        assert stored["epoch"] == epoch, stored
    again = site.agent.must("init", "--accept-gap")
    assert "there is no gap" in again.out and progress(site) == stored, again.text
    site.run("--only", "stream")
    insert(site, 900)
    assert wait_row(site, 900) == stored["epoch"]
    shown = site.agent.status()["gaps"]
    assert shown and shown[-1]["kind"] == kind and shown[-1]["to_lsn"] == gap["to"], shown
    assert json.loads(site.agent.http("/status")[1])["gaps"] == shown
    assert site.agent.stop() == 0
    verified = site.agent.command("verify")
    wanted = {f"extra: {number}" for number in extra} | ({f"missing: {missing}"} if missing is not None else set())
    assert verified.code == bool(wanted) and lines_of(verified.out) == wanted, verified.text
    assert set(extra) <= set(rows(site)) and missing not in rows(site)


def lines_of(verified: str) -> set[str]:
    """The rows that `verify` names, without where."""
    return {line.strip() for line in verified.splitlines() if line.strip().startswith(("missing: ", "extra: ", "changed: ", "unrepresentable: "))}


def move_to(site: Site, server: Postgres) -> None:
    """The site's database is on another server from now on."""
    with suppress(psycopg.Error):
        site.connection.close()
    site.stack = replace(site.stack, postgres=server)
    site.agent.settings = merge(site.agent.settings, {"postgres": {"url": server.agent_url(site.database, password=False)}})
    site.agent.write()
    site.connection = server.connect(site.database)


# The slot

@pytest.mark.seldom
def test_slot_dropped(little: Site) -> None:
    site = stopped(little)
    insert(site, 3)
    site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')")
    assert "bytes of WAL" in refused(site, "slot-missing", site.agent.slot)
    led_out(site, "slot-missing", missing=3)


@pytest.mark.seldom
def test_slot_made_again(little: Site) -> None:
    site = stopped(little)
    insert(site, 3)
    site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')", f"select pg_create_logical_replication_slot('{site.agent.slot}', 'pgoutput')")
    refused(site, "slot-ahead", "lost: up to ")
    insert(site, 4)  # the slot has this one
    led_out(site, "slot-ahead", missing=3)
    assert 4 in rows(site)


@pytest.mark.seldom
def test_slot_advanced_by_hand(little: Site) -> None:
    site = stopped(little)
    insert(site, 3)
    row = site.connection.execute("select end_lsn::text from pg_replication_slot_advance(%s, pg_current_wal_lsn())", (site.agent.slot,)).fetchone()
    assert row is not None
    stored = progress(site)["lsn"]
    refused(site, "slot-ahead", f"stored position: {stored}", f"available from: {row[0]}")
    led_out(site, "slot-ahead", missing=3)
    insert(site, 5)
    # A second gap stands beside the first.
    site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')")
    refused(site, "slot-missing")
    led_out_again = site.agent.must("init", "--accept-gap")
    assert "gap accepted" in led_out_again.out
    assert [gap["kind"] for gap in progress(site)["gaps"]] == ["slot-ahead", "slot-missing"] and progress(site)["epoch"] == 3


def test_slot_invalidated_by_its_size(server: ServerMaker) -> None:
    site, postgres = server("max_slot_wal_keep_size = 1MB", "max_wal_size = 32MB", "min_wal_size = 32MB")
    stopped(site)
    insert(site, 3)

    def lost() -> bool:
        site.sql("insert into public.unpublished select n, repeat('x', 900) from generate_series(1, 20000) n on conflict (id) do update set v = excluded.v",
                 "select pg_switch_wal()", "checkpoint")
        row = site.connection.execute("select wal_status from pg_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone()
        return row is not None and row[0] == "lost"
    wait_until("the slot is lost", lost, 60)
    refused(site, "slot-invalidated", "max_slot_wal_keep_size")
    led_out(site, "slot-invalidated", missing=3)


@pytest.mark.only("pg18")  # PostgreSQL 18 has the setting, 15 has not
@pytest.mark.seldom
def test_slot_invalidated_because_nobody_used_it(server: ServerMaker, stack: Stack) -> None:
    site, postgres = server("idle_replication_slot_timeout = 1s")
    stopped(site)
    insert(site, 3)

    def lost() -> bool:
        site.sql("checkpoint")
        row = site.connection.execute("select invalidation_reason from pg_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone()
        return row is not None and row[0] == "idle_timeout"
    wait_until("the slot has been idle for too long", lost, 120, pause=2)
    refused(site, "slot-invalidated", "idle_timeout", "idle_replication_slot_timeout")
    led_out(site, "slot-invalidated", missing=3)


# The server

def test_another_cluster_behind_the_address(server: ServerMaker) -> None:
    site, first = server()
    stopped(site)
    first.stop()
    other, second = server()
    second.stop()
    second.port = first.port
    configure(second, f"port = {first.port}")
    second.start()
    second.create_database(site.database)
    move_to(site, second)
    create_tables(site.connection, "sluice")
    insert(site, 3)
    refused(site, "other-cluster", "do not compare")
    led_out(site, "other-cluster", missing=3, extra=(1, 2))


@pytest.mark.seldom
def test_of_two_hosts_the_streams_own_is_looked_at(server: ServerMaker) -> None:
    """The first one comes back, and has no such slot: nothing of it is this stream's."""
    site, own = server()
    _, first = server()
    first.create_database(site.database)
    first.stop()
    address = f"127.0.0.1:{own.port}"
    url = site.agent.settings["postgres"]["url"]
    assert address in url
    site.agent.settings["postgres"]["url"] = url.replace(address, f"127.0.0.1:{first.port},{address}")
    site.agent.write()
    site.init().run("--only", "stream")
    wait_until("the slot was looked at", lambda: site.agent.metrics().get("sluice_slot_retained_wal_bytes", 0) > 0, 30)
    first.start()
    for number in range(24):  # two looks
        time.sleep(0.5)
        insert(site, number)
        assert site.agent.metrics().get("sluice_slot_retained_wal_bytes", 0) > 0
    assert site.agent.stop() == 0


@contextmanager
def backup_of(site: Site, postgres: Postgres) -> Iterator[None]:
    """The server is as it was, whatever it was given meanwhile."""
    postgres.stop()
    backup = postgres.root / "backup"
    shutil.copytree(postgres.data, backup)
    postgres.start()
    site.reconnect()
    yield
    postgres.stop()
    shutil.rmtree(postgres.data)
    backup.rename(postgres.data)
    if postgres.user is not None:
        for path in [postgres.data, *postgres.data.rglob("*")]:
            shutil.chown(path, postgres.user, postgres.user)
    postgres.start()
    site.reconnect()


def grow(site: Site) -> None:
    """The server's WAL grows past the stored position."""
    behind = f"select pg_current_wal_lsn() <= '{progress(site)['lsn']}'"
    first = 10_000
    while site.connection.execute(behind).fetchone() == (True,):
        site.sql(f"insert into public.unpublished select n, repeat('x', 900) from generate_series({first}, {first + 1000}) n")
        first += 2000


@pytest.mark.parametrize("grown", [pytest.param(False, id="behind"), pytest.param(True, id="grown-past", marks=pytest.mark.seldom)])
def test_a_backup_restored_to_an_older_point(server: ServerMaker, grown: bool) -> None:
    """Also where nobody looked until its WAL had grown past the position."""
    site, postgres = server()
    streaming(site)
    assert site.agent.stop() == 0
    with backup_of(site, postgres):
        site.run("--only", "stream")
        site.sql("insert into public.unpublished select n, repeat('x', 900) from generate_series(1, 5000) n")
        insert(site, 2, 3)
        wait_row(site, 3)
        assert site.agent.stop() == 0
    insert(site, 4)
    if grown:
        grow(site)
    for _ in range(2):  # the refusal stays
        refused(site, "server-behind", "is not in the server's WAL" if grown else "Kafka is ahead of the server by ")
    assert "server's WAL" in site.agent.command("check").text
    site.agent.must("init", "--accept-gap")
    assert progress(site)["gaps"][-1]["kind"] == "server-behind" and progress(site)["epoch"] == 2
    site.run("--only", "stream")
    assert wait_row(site, 4) == 2, "what the restored server was given since then comes"
    verified = site.agent.command("verify")
    assert verified.code == 1 and lines_of(verified.out) == {"extra: 2", "extra: 3"}, verified.text  # rows that the server no longer has


@pytest.mark.parametrize("how", ["before-the-first-row", "after-a-gap", "a-message"])
@pytest.mark.seldom
def test_a_backup_restored_where_no_transaction_shows_it(server: ServerMaker, how: str) -> None:
    """The position has no transaction that the server could send again; or what it was given since is in none."""
    site, postgres = server()
    site.agent.settings = merge(site.agent.settings, {"postgres": {"replay_window": {"age": "1h"}}})
    site.agent.write()
    site.agent.must("init")
    site.run("--only", "stream")
    if how != "before-the-first-row":
        insert(site, 1)
        wait_row(site, 1)
    assert site.agent.stop() == 0
    if how == "after-a-gap":
        for change in ("drop", "add"):
            site.sql(f"alter publication {site.agent.slot} {change} table public.documents")
        site.agent.must("init", "--accept-gap")
    begin = progress(site)["lsn"]
    with backup_of(site, postgres):
        site.run("--only", "stream")
        site.sql("insert into public.unpublished select n, repeat('x', 900) from generate_series(1, 2000) n")
        wait_until("an idle position is stored", lambda: parse_lsn(progress(site)["lsn"]) > parse_lsn(begin) + 1_000_000, 60)
        assert site.agent.stop() == 0
        site.run("--only", "stream")  # as long as nothing was restored nothing is amiss
        assert site.agent.stop() == 0
    lost = "select pg_logical_emit_message(false, 'lost', 'x')" if how == "a-message" else "insert into public.documents (id) values (77)"
    site.sql(lost)
    grow(site)
    refused(site, "server-behind", "restored to an older point", empty=how == "before-the-first-row")
    checked = site.agent.command("check")
    assert checked.code == 1 and "restored to an older point" in checked.text, checked.text
    again = site.agent.command("replay", "--from-lsn", begin, "--topic-prefix", "again.")
    assert again.code == 3 and "kind: server-behind" in again.text, again.text


@pytest.mark.seldom
def test_a_password_that_is_changed_is_read_again(server: ServerMaker) -> None:
    """From its file, by an agent that runs: no gap, and nobody has to start it again."""
    site, postgres = server()
    streaming(site)
    secret = Path(site.agent.settings["postgres"]["password_file"])
    site.sql("alter role sluice password 'another-4417'")
    site.sql("select pg_terminate_backend(pid) from pg_stat_replication")
    insert(site, 2)
    wait_until("it is refused", lambda: "password authentication failed" in site.agent.log.read_text(), 30)
    secret.write_text("another-4417\n")
    wait_row(site, 2)
    assert site.agent.must("verify").code == 0
    assert site.agent.stop() == 0
    assert "another-4417" not in site.agent.log.read_text()


# A promotion

def standby_of(primary: Postgres, server: Any, *settings: str, slot: str = "standby") -> Postgres:
    """A physical standby that follows through a slot."""
    number = len(list(primary.root.parent.parent.glob("own-*")))
    root = primary.root.parent.parent / f"own-{number}" / "postgres"
    root.parent.mkdir()
    made = Postgres(root, primary.bin, f"own-{number}")
    made.root.mkdir(exist_ok=True)
    made.log.touch()
    if made.user is not None:
        for path in (made.root, made.log):
            shutil.chown(path, made.user, made.user)
    server.servers.append(made)
    made._run("pg_basebackup", "-h", str(primary.root), "-p", str(primary.port), "-U", SUPERUSER, "-D", str(made.data), "-X", "stream",
              "-C", "-S", slot, "-c", "fast")
    (made.data / "standby.signal").touch()
    if made.user is not None:
        shutil.chown(made.data / "standby.signal", made.user, made.user)
    configure(made, f"port = {made.port}", f"unix_socket_directories = '{made.root}'", "hot_standby = on", "hot_standby_feedback = on",
              f"primary_conninfo = 'host={primary.root} port={primary.port} user={SUPERUSER} dbname=postgres'",
              f"primary_slot_name = '{slot}'", *settings)
    return made.start()


def promote(standby: Postgres) -> None:
    with standby.connect("postgres") as admin:
        admin.execute("select pg_promote()")
        wait_until("the standby is a primary", lambda: admin.execute("select not pg_is_in_recovery()").fetchone() == (True,), 30)


def caught_up(primary: Postgres, standby: Postgres) -> None:
    with primary.connect("postgres") as one, standby.connect("postgres") as two:
        end = one.execute("select pg_current_wal_lsn()::text").fetchone()
        assert end is not None
        wait_until("the standby has caught up",
                   lambda: two.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", end).fetchone() == (True,), 30)


@pytest.mark.only("pg18")  # PostgreSQL 17 brought failover slots: see the test below for 15
@pytest.mark.parametrize("behind", [pytest.param(False, id="caught-up", marks=pytest.mark.seldom), pytest.param(True, id="lacks-wal-that-is-not-ours")])
def test_promotion_with_a_failover_slot_goes_on_without_loss(server: ServerMaker, stack: Stack, behind: bool) -> None:
    site, primary = server()
    site.agent.must("init")
    standby = standby_of(primary, server, "sync_replication_slots = on")
    with primary.connect("postgres") as admin:
        admin.execute("alter system set synchronized_standby_slots = 'standby'")
        admin.execute("select pg_reload_conf()")
    site.run("--only", "stream")
    insert(site, 1, 2)
    wait_row(site, 2)
    with standby.connect("postgres") as two:
        def synced() -> bool:
            site.sql("update public.unpublished set v = 'x' where id = 0", "select pg_log_standby_snapshot()")
            return two.execute("select 1 from pg_replication_slots where slot_name = %s and synced and not temporary and invalidation_reason is null",
                               (site.agent.slot,)).fetchone() is not None
        wait_until("the slot is on the standby", synced, 60, pause=0.5)
    insert(site, 3)
    wait_row(site, 3)
    if behind:
        caught_up(primary, standby)
        standby.stop()
        with primary.connect("postgres") as admin:
            admin.execute("alter system reset synchronized_standby_slots")
            admin.execute("select pg_reload_conf()")
        before = progress(site)["lsn"]
        site.sql("insert into public.unpublished select n, 'x' from generate_series(1, 1000) n")
        wait_until("the position has passed it", lambda: parse_lsn(progress(site)["lsn"]) > parse_lsn(before) + 50_000, 60)
    primary.kill()
    if behind:
        standby.start()
    promote(standby)
    site.agent.kill()
    move_to(site, standby)
    insert(site, 4)
    site.run("--only", "stream")
    assert wait_row(site, 4) == 1, "the epoch stays: the history contains the position"
    assert site.agent.must("verify").code == 0
    assert progress(site)["timeline"] == 2 and "gaps" not in progress(site)


@pytest.mark.seldom
def test_promotion_without_the_slot_is_a_gap(server: ServerMaker) -> None:
    site, primary = server()
    stopped(site)
    standby = standby_of(primary, server)
    caught_up(primary, standby)
    primary.kill()
    promote(standby)
    move_to(site, standby)
    insert(site, 3)
    refused(site, "slot-missing")
    site.sql(f"select pg_create_logical_replication_slot('{site.agent.slot}', 'pgoutput')")
    refused(site, "slot-ahead", "lost: up to ")
    led_out(site, "slot-ahead", missing=3)
    assert progress(site)["timeline"] == 2


@pytest.mark.seldom
def test_promotion_of_a_standby_that_was_behind(server: ServerMaker) -> None:
    site, primary = server()
    streaming(site)
    standby = standby_of(primary, server)
    caught_up(primary, standby)
    standby.stop()
    insert(site, 2)
    wait_row(site, 2)
    assert site.agent.stop() == 0
    primary.kill()
    standby.start()
    promote(standby)
    move_to(site, standby)
    site.sql("insert into public.unpublished select n, repeat('x', 900) from generate_series(1, 5000) n")
    insert(site, 3)
    refused(site, "timeline-diverged", "Kafka has rows that this server never had")
    led_out(site, "timeline-diverged", missing=3, extra=(2,))


@pytest.mark.seldom
def test_a_commit_dated_ahead_seals_no_hour(make: SiteMaker) -> None:
    """C6: a client may date a commit. The stream stands while an hour ends; what was committed in it is not in Kafka, and it stays open."""
    site = make({"s3": {"seal_after": "20m", "rotate": {"age": "1s"}}})
    site.set_clock()
    site.agent.must("init")
    site.run("--only", "stream")
    site.twin("sink").start("--only", "sink").wait_ready()
    with psycopg.connect(site.stack.postgres.conninfo(site.database), autocommit=True) as writer:
        site.clock.attach(writer, 0)

        def write(first: int, last: int, ahead: int = 0) -> datetime:
            with writer.transaction():
                site.clock.stamp(writer, -ahead)
                row = writer.execute("insert into public.documents select n, 'x', null, null from generate_series(%s::int, %s) n"
                                     " returning clock_timestamp()", (first, last)).fetchone()
            return row[0].astimezone(UTC).replace(minute=0, second=0, microsecond=0)

        topic, before = site.agent.topic(("public", "documents")), write(1, 1)

        def sealed(hour: datetime) -> Done:
            return site.agent.command("hours", "--hour", f"{hour:%Y-%m-%dT%H:%M:%SZ}", "--topic", topic, "--json")

        wait_until("an hour is sealed by the server's clock", lambda: sealed(before).code == 0, 60, pause=1)
        write(2, 2, ahead=5)
        wait_row(site, 2)
        assert site.agent.stop() == 0
        hour = write(3, 12)
        over = hour + timedelta(hours=1, minutes=20)
        wait_until("the hour is over", lambda: writer.execute("select clock_timestamp() > %s", (over,)).fetchone() == (True,), 60, pause=1)
        time.sleep(7)  # the sink reads the position every 5 seconds
        assert sealed(hour).code == 1, sealed(hour).text
        site.agent.start("--only", "stream").wait_ready()
        wait_until("the hour is sealed", lambda: sealed(hour).code == 0, 60, pause=1)
        line = json.loads(sealed(hour).out.splitlines()[0])
        assert line["records"] >= 10 and line["late_objects"] == 0, line


@pytest.mark.only("pg18")  # PostgreSQL 16 brought logical decoding on standbys
@pytest.mark.seldom
def test_the_standby_that_is_streamed_is_promoted(server: ServerMaker) -> None:
    """Its walsender goes on through the promotion; and its clock is not what says that an hour has passed, for it may be behind."""
    site, primary = server()
    site.sql(f"create publication {site.agent.slot} for table public.documents, public.positions with (publish_via_partition_root = true)")
    standby = standby_of(primary, server)
    site.agent.settings = merge(site.agent.settings, {"postgres": {"url": standby.agent_url(site.database, password=False)}})
    site.agent.write()
    over = threading.Event()

    def snapshots() -> None:  # a slot on a standby waits for one
        with primary.connect("postgres") as admin:
            while not over.wait(0.5):
                admin.execute("select pg_log_standby_snapshot()")
    logging = threading.Thread(target=snapshots)
    logging.start()
    try:
        site.agent.must("init")
    finally:
        over.set()
        logging.join()
    site.run("--only", "stream")
    insert(site, 1)
    wait_row(site, 1)
    before = parse_lsn(progress(site)["lsn"])
    site.sql("insert into public.unpublished select n, repeat('x', 900) from generate_series(1, 5000) n")
    wait_until("an idle position is stored", lambda: parse_lsn(progress(site)["lsn"]) > before + 1_000_000, 40)
    with standby.connect("postgres") as two:
        replayed = two.execute("select pg_last_xact_replay_timestamp()").fetchone()
    assert replayed and datetime.fromisoformat(progress(site)["clock"]) <= replayed[0]
    primary.kill()
    promote(standby)
    move_to(site, standby)
    # An agent that is killed before a position is stored as of the new timeline cannot tell its rows from such as were lost.
    began = time.monotonic()
    number = 1000
    while progress(site)["timeline"] != 2:
        number += 1
        insert(site, number)
        wait_row(site, number)
        assert time.monotonic() - began < 4, "the promotion is not seen"
    insert(site, 2)
    wait_row(site, 2)
    site.agent.kill()
    insert(site, 3)
    site.run("--only", "stream")
    assert wait_row(site, 3) == 1
    assert site.agent.must("verify").code == 0


# The progress topic

@pytest.mark.parametrize("how", ["deleted", "empty"])
@pytest.mark.seldom
def test_progress_topic_gone(little: Site, how: str) -> None:
    site = stopped(little)
    topic = site.agent.progress_topic
    site.stack.kafka.delete_topics([topic])
    if how == "empty":
        wait_until("the topic is gone", lambda: topic not in site.stack.kafka.topics(), 30)
        site.stack.kafka.create_topic(topic, 1, cleanup_policy="compact")
    insert(site, 3)
    refused(site, "no-position")
    done = site.agent.must("init", "--accept-gap")
    assert "kind: no-position" in done.out
    assert progress(site)["epoch"] > 1, "what Kafka holds is of an epoch that nobody remembers: a new one must be above it"
    site.run("--only", "stream")
    assert wait_row(site, 3) == progress(site)["epoch"]
    assert site.agent.must("verify").code == 0, "the slot held everything"


@pytest.mark.seldom
def test_another_kafka_cluster(little: Site) -> None:
    """A position that was copied from one, as a mirror does."""
    site = stopped(little)
    position = progress(site)
    assert position["kafka"]
    copier = Producer({"bootstrap.servers": site.stack.kafka.brokers})
    copier.produce(site.agent.progress_topic, key=site.agent.name, value=json.dumps({**position, "kafka": "another"}))
    assert copier.flush(20) == 0
    insert(site, 3)
    refused(site, "other-kafka", "its identifier is " + position["kafka"])
    assert "Kafka is another cluster" in site.agent.command("check").text
    led_out(site, "other-kafka", missing=None)
    assert progress(site)["kafka"] == position["kafka"]


# The publication

@pytest.mark.seldom
def test_publication_dropped_while_running(little: Site) -> None:
    site = little
    streaming(site)
    site.sql(f"drop publication {site.agent.slot}")
    insert(site, 3)
    refused(site, "publication-missing", running=True)
    refused(site, "publication-missing")
    assert site.connection.execute("select 1 from pg_publication").fetchone() is None, "init alone makes nothing that would hide the loss"
    led_out(site, "publication-missing", missing=3)


@pytest.mark.seldom
def test_publication_made_again_while_nobody_looked(little: Site) -> None:
    site = stopped(little)
    row = site.connection.execute("select pg_get_userbyid(pubowner) from pg_publication").fetchone()
    assert row == ("sluice",)
    site.sql(f"drop publication {site.agent.slot}")
    insert(site, 3)
    site.sql(f"create publication {site.agent.slot} for table public.documents, public.positions with (publish_via_partition_root = true)")
    refused(site, "publication-missing", "was dropped and made again")
    led_out(site, "publication-missing", missing=3)


@pytest.mark.seldom
def test_table_unpublished_while_running(little: Site) -> None:
    site = little
    streaming(site)
    site.sql(f"alter publication {site.agent.slot} drop table public.documents")
    insert(site, 3)
    refused(site, "table-unpublished", "public.documents", running=True)
    refused(site, "table-unpublished", "ALTER PUBLICATION")
    site.sql("insert into public.positions values (1, 'kept', '2026-01-01', 1, true, null)")
    led_out(site, "table-unpublished", missing=3)
    others = read_topics(site.stack.kafka.brokers, [site.agent.topic(("public", "positions"))])
    assert sum(len(found) for found in others.values()) == 1, "what other tables were given meanwhile is not lost"


@pytest.mark.parametrize("running", [pytest.param(False, id="off"), pytest.param(True, id="running")])
@pytest.mark.seldom
def test_table_taken_out_and_put_back(little: Site, running: bool) -> None:
    """Faster than the agent looks, or while it is off."""
    site = stopped(little)
    if running:
        site.run("--only", "stream")
    site.sql(f"alter publication {site.agent.slot} drop table public.documents")
    insert(site, 3)
    site.sql(f"alter publication {site.agent.slot} add table public.documents")
    insert(site, 4)
    refused(site, "table-unpublished", "public.documents: taken out of publication", running=running)
    assert "taken out of publication" in site.agent.command("check").text
    led_out(site, "table-unpublished", missing=3)
    assert 4 in rows(site), "what was committed later is in the stream"


@pytest.mark.seldom
def test_a_quiet_table_taken_out_and_put_back(little: Site) -> None:
    """Of which no row was ever streamed: its topic is there, made by `init`. The refusal stays, though it was running when it saw it."""
    site = stopped(little)
    site.run("--only", "stream")
    site.sql(f"alter publication {site.agent.slot} drop table public.positions", "insert into public.positions values (1, 'lost', '2026-01-01', 1, true, null)",
             f"alter publication {site.agent.slot} add table public.positions")
    refused(site, "table-unpublished", "public.positions: taken out of publication", running=True)
    refused(site, "table-unpublished", "public.positions: taken out of publication")


@pytest.mark.seldom
def test_a_publication_whose_tables_change_streams_on_and_lists_are_told_of(little: Site) -> None:
    """Tables that come by hand, and lists of columns that are set and taken away, while the agent is off and while it runs: the agent cannot
    know what is meant, and says what may be missing."""
    site = stopped(little)
    site.sql("create table public.later (id bigint primary key)", "alter table public.later owner to sluice")
    listed = site.connection.info.server_version >= 150_000

    def published(documents: str) -> None:
        site.sql(f"alter publication {site.agent.slot} set table {documents}, public.positions, public.later")
    published("public.documents (id, title)" if listed else "public.documents")
    site.agent.settings = merge(site.agent.settings, {"postgres": {"tables": [*map(".".join, DOCUMENTS), "public.later"]}})
    site.agent.write()
    site.run("--only", "stream")
    site.sql("insert into public.later values (1)")
    insert(site, 3)
    wait_row(site, 3)
    topic = site.agent.topic(("public", "later"))
    wait_until("its row is in Kafka", lambda: any(read_topics(site.stack.kafka.brokers, [topic]).values()), 30)

    def known() -> bool:
        newest = site.connection.execute("select max(oid)::bigint from pg_publication_rel").fetchone()
        return bool(newest) and progress(site)["published"][0] == newest[0]
    wait_until("the position knows of it", known, 20)
    site.agent.kill()
    published("public.documents")
    site.run("--only", "stream")
    insert(site, 4)
    wait_row(site, 4)
    if listed:
        told = "lists of columns of the publication are not what they were at the stored position"
        assert told in site.agent.log.read_text(), "while it was off"
        published("public.documents (id, title)")
        insert(site, 5)
        wait_row(site, 5)
        wait_until("the position knows of it", known, 20)
        change = 'table=public.documents change="is sent with a list of columns (id, title): what others hold is not sent"'
        assert change in site.agent.log.read_text()
        counted = [value for name, value in site.agent.metrics().items() if 'class="rows_not_sent"' in name]
        assert counted == [2], counted
    assert site.agent.stop() == 0


def test_a_table_published_by_hand_is_not_taken_for_one_that_came_back(make: SiteMaker) -> None:
    """Its first rows are in Kafka, and the agent is killed before its next look at the publication."""
    site = make({"postgres": {"tables": ["public.doc*"]}}, tables=DOCUMENTS[:1])
    site.sql("create table public.older (id bigint primary key)", "alter table public.older owner to sluice")
    site.agent.must("init")
    site.sql("alter table public.older rename to docks")
    site.run("--only", "stream")
    insert(site, 1)
    wait_row(site, 1)
    site.sql(f"alter publication {site.agent.slot} add table public.docks", "insert into public.docks values (1)")
    topic = site.agent.topic(("public", "docks"))
    wait_until("its row is in Kafka", lambda: any(read_topics(site.stack.kafka.brokers, [topic]).values()), 30, pause=0.01)
    site.agent.kill()
    insert(site, 2)
    site.run("--only", "stream")
    wait_row(site, 2)
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_a_table_is_added_without_a_gap(little: Site) -> None:
    """What was written to it before is not in the stream, also where it is committed later: `init` waits, and counts it."""
    site = little
    streaming(site)
    site.sql("create table public.later (id bigint primary key)", "alter table public.later owner to sluice", "insert into public.later values (1)")
    site.agent.settings = merge(site.agent.settings, {"postgres": {"tables": [*map(".".join, DOCUMENTS), "public.later"]}})
    site.agent.write()
    beside = site.agent.command("init")
    assert beside.code == 69 and "is in use by walsender" in beside.text, "the agent that runs does not know of it"
    assert site.agent.stop() == 0
    published = "select 1 from pg_publication_tables where tablename = 'later'"
    with site.stack.postgres.connect(site.database) as writer, ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            writer.execute("insert into public.later values (2)")
            adding = pool.submit(site.agent.must, "init")
            wait_until("it is published", lambda: site.connection.execute(published).fetchone(), 30)
            wait_until("init looks who is running", lambda: site.connection.execute(
                "select 1 from pg_stat_activity where query like '%pg_locks%' and pid <> pg_backend_pid()").fetchone(), 30, pause=0.01)
            writer.execute("insert into public.later values (3)")
        done = adding.result()
    assert "table public.later: its 3 existing rows will not be sent" in done.out, done.text
    assert "there is no gap" in done.out and "gaps" not in progress(site) and progress(site)["epoch"] == 1
    site.run("--only", "stream")
    site.sql("insert into public.later values (4)")
    topic = site.agent.topic(("public", "later"))
    wait_until("its row is in Kafka", lambda: any(read_topics(site.stack.kafka.brokers, [topic]).values()), 30)
    assert site.agent.stop() == 0
    # Once it was streamed, to be without it is a gap.
    site.sql(f"alter publication {site.agent.slot} drop table public.later")
    refused(site, "table-unpublished", "public.later")


def test_a_table_made_again_is_no_longer_published(make: SiteMaker) -> None:
    """Also where only a glob names it: the agent has seen it published."""
    site = make({"postgres": {"tables": ["public.doc*"]}}, tables=DOCUMENTS[:1])
    site.agent.must("init")
    site.run("--only", "stream")
    wait_until("the publication is looked at", lambda: "sluice_slot_retained_wal_bytes" in site.agent.metrics(), 20)
    insert(site, 1)
    wait_row(site, 1)
    site.sql("drop table public.documents", "create table public.documents (id bigint primary key, title text, body text, at timestamptz)",
             "alter table public.documents owner to sluice")
    insert(site, 3)
    code = site.agent.running().wait(30)
    log = site.agent.log.read_text()
    assert code == 3 and "kind: table-unpublished" in log, log[-2000:]


@pytest.mark.seldom
def test_deletes_unpublished_while_running_and_while_nobody_looked(little: Site) -> None:
    site = little
    site.agent.must("init")
    site.run("--only", "stream")
    insert(site, 1, 2)
    wait_row(site, 2)
    site.sql(f"alter publication {site.agent.slot} set (publish = 'insert, update, truncate')", "delete from public.documents where id = 1")
    refused(site, "operation-unpublished", "does not publish delete", running=True)
    refused(site, "operation-unpublished", "publish = 'insert, update, delete, truncate'")
    assert "does not publish delete" in site.agent.command("check").text
    led_out(site, "operation-unpublished", extra=(1,))
    row = site.connection.execute("select pubdelete, pubtruncate from pg_publication").fetchone()
    assert row == (True, True)


@pytest.mark.seldom
def test_rows_of_a_partitioned_table_do_not_come_under_the_names_of_its_partitions(make: SiteMaker) -> None:
    """PostgreSQL's default. An administrator's own publication is used as it is, so nobody may start with one that loses them."""
    site = make({"postgres": {"tables": ["public.documents", "public.sales"]}}, tables=DOCUMENTS[:1])
    site.sql("create table public.sales (id bigint primary key, v text) partition by range (id)",
             "create table public.sales_1 partition of public.sales for values from (0) to (1000)", "alter table public.sales owner to sluice",
             f"create publication {site.agent.slot} for table public.documents, public.sales",
             f"alter publication {site.agent.slot} owner to sluice")
    done = site.agent.command("init")
    cure = f'ALTER PUBLICATION "{site.agent.slot}" SET (publish_via_partition_root = true)'
    assert done.code == 78 and "under the names of its partitions" in done.text and cure in done.text, done.text
    site.sql(cure)
    site.agent.must("init")
    site.run("--only", "stream")
    site.sql("insert into public.sales values (1, 'a')")
    topic = site.agent.topic(("public", "sales"))
    wait_until("the row is in Kafka", lambda: sum(len(found) for found in read_topics(site.stack.kafka.brokers, [topic]).values()) == 1, 30)
    site.sql(f"alter publication {site.agent.slot} set (publish_via_partition_root = false)", "insert into public.sales values (2, 'b')")
    refused(site, "table-unpublished", "under the names of its partitions", running=True)
    refused(site, "table-unpublished", cure)
    led_out(site, "table-unpublished", missing=2)


def altered_for_a_moment(site: Site, statement: str, meanwhile: str, back: str, told: str, running: bool) -> None:
    """What is sent less for a moment is nowhere, and that is told: by the next look, or at the next start."""
    if not running:
        assert site.agent.stop() == 0
    site.sql(f"alter publication {site.agent.slot} {statement}", meanwhile, f"alter publication {site.agent.slot} {back}")
    if not running:
        site.run("--only", "stream")
    wait_until("it is told", lambda: told in site.agent.log.read_text(), 30)
    assert any(value >= 1 for name, value in site.agent.metrics().items() if 'class="rows_not_sent"' in name)
    insert(site, 900)
    wait_row(site, 900)
    log = site.agent.log.read_text()
    assert log.count("the publication was altered") == 1 and log.count(told) == 1, log
    assert site.agent.stop() == 0
    verified = site.agent.command("verify")
    assert verified.code == 1, verified.text


@pytest.mark.parametrize("running", [pytest.param(False, id="off"), pytest.param(True, id="running", marks=pytest.mark.seldom)])
def test_a_publication_that_sent_less_for_a_moment_is_told_of(little: Site, running: bool) -> None:
    """No entry of it is another one; its row in the catalog is."""
    site = little
    streaming(site)
    altered_for_a_moment(
        site, "set (publish = 'insert')", "update public.documents set title = 'later' where id = 1",
        "set (publish = 'insert, update, delete, truncate')", "the publication was altered (options, name or owner)", running)


@pytest.mark.seldom
def test_rows_that_came_as_a_partitions_own_are_told_of(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.documents", "public.sales"]}}, tables=DOCUMENTS[:1])
    site.sql("create table public.sales (id bigint primary key, v text) partition by range (id)",
             "create table public.sales_1 partition of public.sales for values from (0) to (1000)", "alter table public.sales owner to sluice")
    streaming(site)
    site.sql("insert into public.sales values (1, 'a')")
    altered_for_a_moment(
        site, "set (publish_via_partition_root = false)", "insert into public.sales values (2, 'b')", "set (publish_via_partition_root = true)",
        "rows came by a partition's own name", running=False)


def test_a_publication_renamed_for_a_moment_is_a_gap(little: Site) -> None:
    """From 18 on the server passes over what it cannot find, with a warning to its client; before, it ends the stream."""
    site = little
    stopped(site)
    # A role or a database that wants no warnings does not hide it.
    site.sql(f"alter database {site.database} set client_min_messages = 'error'",
             f"alter publication {site.agent.slot} rename to elsewhere", "insert into public.documents values (3, 'x', null, null)",
             f"alter publication elsewhere rename to {site.agent.slot}")
    insert(site, 4)
    site.agent.start("--only", "stream")
    code = site.agent.running().wait(60)
    said = site.agent.said()
    assert code == 3 and "kind: publication-missing" in said and "was dropped, or did not exist yet at this position" in said, said
    # Which of the two is older `init` cannot see: the last line of the refusal leads out.
    assert "sluice drop, then sluice init --accept-gap" in said and 3 not in rows(site), said
    site.agent.must("drop")
    site.agent.must("init", "--accept-gap")
    site.run("--only", "stream")
    insert(site, 900)
    wait_row(site, 900)
    assert progress(site)["gaps"], "the loss is on record"


def test_partitions_keep_as_much_of_an_old_row_as_their_root_says(make: SiteMaker) -> None:
    """ALTER TABLE ... REPLICA IDENTITY of a root does not reach its partitions: deletes of theirs would come with null keys."""
    site = make({"postgres": {"tables": ["public.events"]}}, tables=[])
    site.sql("create table public.events (id bigint, code text not null, at date, primary key (id, at)) partition by range (at)",
             "create table public.events_1 partition of public.events for values from ('2026-01-01') to ('2027-01-01')",
             "create unique index events_code on public.events (code, at)", "alter table public.events alter at set not null",
             "alter table public.events replica identity using index events_code", "alter table public.events owner to sluice",
             "alter table public.events_1 owner to sluice",
             f"create publication {site.agent.slot} for table public.events with (publish_via_partition_root = true)",
             f"alter publication {site.agent.slot} owner to sluice")
    done = site.agent.command("init")
    cure = "ALTER TABLE public.events_1 REPLICA IDENTITY FULL"
    assert done.code == 78 and "has another replica identity" in done.text and cure in done.text, done.text
    site.sql(cure)
    site.agent.must("init")
    site.run("--only", "stream")
    site.sql("insert into public.events values (1, 'a', '2026-05-05')", "delete from public.events")
    topic = site.agent.topic(("public", "events"))

    def keys() -> list[Any]:
        return [json.loads(r.key or b"") for found in read_topics(site.stack.kafka.brokers, [topic]).values() for r in found]
    wait_until("insert, delete and tombstone are in Kafka", lambda: len(keys()) == 3, 30)
    assert keys() == [{"code": "a", "at": "2026-05-05Z"}] * 3
    # One that is made later: what is whole goes on, and what is not ends the stream before it.
    site.sql("create table public.events_2 partition of public.events for values from ('2027-01-01') to ('2028-01-01')",
             "insert into public.events values (2, 'b', '2027-05-05')")
    wait_until("its insert is in Kafka", lambda: len(keys()) == 4, 30)
    site.sql("delete from public.events where id = 2")
    code = site.agent.running().wait(30)
    last = site.agent.log.read_text()[-2000:]
    assert code == 5 and "column \"code\"" in last and "replica identity of a partition" in last, last
    assert len(keys()) == 4


def ended_as_missing(site: Site, stranger: str) -> None:
    """The agent has ended: a table that is named is not there, and may be this one."""
    code = site.agent.running().wait(60)
    last = site.agent.said()[-2000:]
    assert code == 3 and "kind: table-missing" in last and stranger in last, last


def test_a_table_renamed_under_the_stream_is_not_passed_over(little: Site) -> None:
    site = little
    streaming(site)
    site.sql("alter table public.documents rename to papers", "insert into public.papers values (3, 'row 3', null, null)")
    ended_as_missing(site, "public.papers")
    site.agent.start("--only", "stream")
    ended_as_missing(site, "public.papers")
    site.agent.settings = merge(site.agent.settings, {"postgres": {"tables": ["public.papers", "public.positions"]}})
    site.agent.write()
    site.run("--only", "stream")
    topic = site.agent.topic(("public", "papers"))
    wait_until("its row is in Kafka", lambda: any(read_topics(site.stack.kafka.brokers, [topic]).values()), 30)
    assert not progress(site).get("gaps")


@pytest.mark.seldom
def test_a_quiet_table_that_was_renamed_is_not_passed_over(little: Site) -> None:
    """It had no change yet since the agent began."""
    site = stopped(little)
    site.run("--only", "stream")
    site.sql("alter table public.documents rename to papers", "insert into public.papers values (3, 'row 3', null, null)")
    ended_as_missing(site, "public.papers")
    site.sql("alter table public.papers rename to documents")
    site.run("--only", "stream")
    insert(site, 4)
    wait_row(site, 4)
    site.sql("drop table public.positions")
    wait_until("one that is gone is told of", lambda: site.agent.metrics()["sluice_tables_unpublished"] == 1, 20)
    assert site.agent.stop() == 0
    site.run("--only", "stream")
    assert site.agent.stop() == 0


def test_a_table_that_was_dropped_does_not_stop_the_others(make: SiteMaker) -> None:
    """Under a publication of all tables, where there are always some that nobody wants."""
    site = make({"postgres": {"tables": ["public.documents", "public.positions"]}}, tables=DOCUMENTS)
    site.sql(f"create publication {site.agent.slot} for all tables with (publish_via_partition_root = true)")
    streaming(site)
    site.sql("drop table public.positions", "create table public.scratch (id bigint primary key)", "insert into public.scratch values (1)")
    insert(site, 2)
    wait_row(site, 2)
    assert site.agent.stop() == 0
    site.run("--only", "stream")
    site.sql("insert into public.scratch values (2)")
    insert(site, 3)
    wait_row(site, 3)
    assert site.agent.stop() == 0


def test_a_partition_that_was_wanted_by_its_name_is_not_passed_over(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.events_1", "public.events_2"]}}, tables=[])
    site.sql("create table public.events (id bigint primary key) partition by range (id)",
             "create table public.events_1 partition of public.events for values from (0) to (10)",
             "create table public.events_2 partition of public.events for values from (10) to (20)",
             *(f"alter table public.{name} owner to sluice" for name in ("events", "events_1", "events_2")),
             f"create publication {site.agent.slot} for table public.events")
    site.agent.must("init")
    site.run("--only", "stream")
    site.sql("insert into public.events values (1)")
    topic = site.agent.topic(("public", "events_1"))
    wait_until("its row is in Kafka", lambda: any(read_topics(site.stack.kafka.brokers, [topic]).values()), 30)
    site.sql("alter table public.events_1 rename to events_old", "insert into public.events values (2)")
    ended_as_missing(site, "public.events_old")
    site.agent.start("--only", "stream")
    ended_as_missing(site, "public.events_old")


@pytest.mark.seldom
def test_a_table_that_is_unlogged_is_told_of_with_what_mends_it(make: SiteMaker) -> None:
    """A publication of all tables has it no more, and ADD TABLE would fail."""
    site = make({"postgres": {"tables": ["public.documents"]}}, tables=DOCUMENTS[:1])
    site.sql(f"create publication {site.agent.slot} for all tables with (publish_via_partition_root)")
    site.agent.must("init")
    site.run("--only", "stream")
    insert(site, 1)
    wait_row(site, 1)
    site.sql("alter table public.documents set unlogged")
    assert site.agent.running().wait(60) == 3
    log = site.agent.log.read_text()
    cure = 'ALTER TABLE "public"."documents" SET LOGGED'
    assert "kind: table-unpublished" in log and "public.documents, which is unlogged" in log and cure in log, log[-2000:]
    assert "ADD TABLE" not in log, log[-2000:]
    insert(site, 2)
    site.sql(cure)
    site.run("--only", "stream")
    insert(site, 3)
    wait_row(site, 3)
    assert site.agent.stop() == 0
    # What was written meanwhile is in no WAL.
    verified = site.agent.command("verify")
    assert verified.code == 1 and lines_of(verified.out) == {"missing: 2"}, verified.text


@pytest.mark.seldom
def test_a_loss_that_another_role_must_mend_is_on_record_until_then(little: Site) -> None:
    site = little
    site.sql(f"create publication {site.agent.slot} for table public.documents, public.positions with (publish_via_partition_root = true)")
    streaming(site)
    assert site.agent.stop() == 0
    site.sql(f"alter publication {site.agent.slot} drop table public.documents")
    insert(site, 2)
    done = site.agent.must("init", "--accept-gap")
    assert "until the owner of publication and table gives" in done.out and "ADD TABLE" in done.out, done.text
    assert progress(site)["gaps"][-1]["to"] == "0/0", progress(site)
    refused(site, "table-unpublished")
    insert(site, 3)
    site.sql(f"alter publication {site.agent.slot} add table public.documents")
    end = site.connection.execute("select pg_current_wal_lsn()").fetchone()
    site.run("--only", "stream")
    insert(site, 4)
    wait_row(site, 4)
    gap = progress(site)["gaps"][-1]
    assert end and parse_lsn(gap["to"]) >= parse_lsn(str(end[0])), (gap, end)
    assert site.agent.stop() == 0


def test_a_table_that_another_takes_the_place_of_is_passed_over(little: Site) -> None:
    """The swap of a rebuilt table: the old one may still be written to."""
    site = little
    site.agent.must("init")
    site.sql("create table public.rebuilt (like public.documents including all)", "alter table public.rebuilt owner to sluice",
             f"alter publication {site.agent.slot} add table public.rebuilt")
    site.run("--only", "stream")
    insert(site, 1)
    wait_row(site, 1)
    site.sql("alter table public.documents rename to former", "alter table public.rebuilt rename to documents", "delete from public.former")
    insert(site, 2)
    wait_row(site, 2)
    told = "matches nothing in postgres.tables: its changes are passed over table=public.former before=public.documents"
    assert site.agent.log.read_text().count(told) == 1
    assert site.agent.stop() == 0


def test_a_table_that_is_made_later_is_told_of(make: SiteMaker) -> None:
    site = make({"postgres": {"tables": ["public.doc*"]}}, tables=DOCUMENTS[:1])
    site.agent.must("init")
    site.run("--only", "stream")
    assert site.agent.metrics()["sluice_tables_unpublished"] == 0
    site.sql("create table public.docks (id bigint primary key)", "alter table public.docks owner to sluice")
    wait_until("it is counted and told of",
               lambda: site.agent.metrics()["sluice_tables_unpublished"] == 1 and "does not publish public.docks" in site.agent.said(), 20)
    site.sql(f"alter publication {site.agent.slot} add table public.docks", "insert into public.docks values (1)")
    topic = site.agent.topic(("public", "docks"))
    wait_until("its row is in Kafka", lambda: any(read_topics(site.stack.kafka.brokers, [topic]).values()), 30)
    wait_until("it is counted no more", lambda: site.agent.metrics()["sluice_tables_unpublished"] == 0, 20)
    assert site.agent.stop() == 0


# Topics under the sink

def objects(site: Site) -> int:
    return len(site.lake.listing([site.agent.topic(table) for table in [*DOCUMENTS, *GOLD_TABLES]]))


def sunk(site: Site) -> Site:
    """Rows 1 to 30 are in objects, and the agent has stopped."""
    site.agent.must("init")
    site.run()
    insert(site, *range(1, 31))
    wait_row(site, 30)
    records = read_topics(site.stack.kafka.brokers, [site.agent.topic(DOCUMENTS[0])])
    last = {partition: found[-1].offset for partition, found in records.items() if found}
    wait_until("all is in objects", lambda: all(site.lake.ends([site.agent.topic(DOCUMENTS[0])]).get(p, -1) >= o for p, o in last.items()), 60, pause=0.5)
    assert site.agent.stop() == 0
    return site


def test_data_topic_made_again_under_the_sink(little: Site) -> None:
    site = sunk(little)
    topic = site.agent.topic(DOCUMENTS[0])
    site.stack.kafka.delete_topics([topic])
    wait_until("the topic is gone", lambda: topic not in site.stack.kafka.topics(), 30)
    site.stack.kafka.create_topic(topic, 3)
    site.agent.start()
    wait_until("the sink has stopped, the stream has not",
               lambda: site.agent.http("/readyz")[0] == 503 and "sink" in site.agent.http("/readyz")[1], 60, pause=0.3)
    site.agent.running().require_running()
    insert(site, 31)
    wait_row(site, 31)
    assert site.agent.stop() in (0, 3)
    site.agent.start("--only", "sink")
    assert site.agent.running().wait(60) == 3
    log = site.agent.said()
    assert f"the log of {topic}" in log and "begin a new prefix in s3.url" in log, log[-2000:]
    # The way out.
    site.lake.prefix += "/second"
    fresh = site.twin("fresh", {"s3": {"url": site.agent.settings["s3"]["url"] + "/second"}})
    fresh.start("--only", "sink").wait_ready()
    wait_until("the new prefix has the row", lambda: objects(site) > 0, 60, pause=0.5)
    assert fresh.stop() == 0


@pytest.mark.seldom
def test_data_topic_made_again_long_after_it_was_deleted(little: Site) -> None:
    """The group takes the partitions away, and gives them anew: librdkafka 2.0 cannot free such a client, and what has happened is told."""
    site = sunk(little)
    topic = site.agent.topic(DOCUMENTS[0])
    site.run("--only", "sink")
    wait_until("the sink has the partitions again", lambda: "all=6" in site.agent.said().rsplit("sluice version", 1)[-1], 30)
    site.stack.kafka.delete_topics([topic])
    wait_until("the partitions are lost", lambda: "partitions are lost" in site.agent.said(), 60)
    site.stack.kafka.create_topic(topic, 3)
    assert site.agent.running().wait(90) == 3
    assert f"the log of {topic}" in site.agent.said()


@pytest.mark.seldom
def test_log_start_beyond_the_sink(little: Site) -> None:
    site = sunk(little)
    topic = site.agent.topic(DOCUMENTS[0])
    site.run("--only", "stream")
    insert(site, *range(31, 61))
    wait_row(site, 60)
    assert site.agent.stop() == 0
    admin = site.stack.kafka.admin()
    starts = {p.partition: done.result(20).low_watermark
              for p, done in admin.delete_records([TopicPartition(topic, n, -1) for n in range(3)]).items()}
    site.agent.start("--only", "sink")
    assert site.agent.running().wait(60) == 3
    log = site.agent.said()
    assert "are not in s3://" in log and "--reset-offsets --to-offset" in log and "no longer in Kafka" in log, log[-2000:]
    group = f"sluice.{site.agent.name}"
    for done in admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, n, start) for n, start in starts.items()])]).values():
        done.result(20)
    # The offset is nobody's word yet who has looked at the store.
    verified = site.agent.command("verify")
    assert verified.code == 1 and "records between the last object and the log's start are lost" in verified.text, verified.text
    before = objects(site)
    site.agent.start()
    site.agent.wait_ready()
    insert(site, *range(61, 91))
    wait_until("the sink goes on after the gap", lambda: objects(site) > before, 60, pause=0.5)
    assert site.agent.stop() == 0
