"""Each kind of change and each way to write it, small and exact."""

from __future__ import annotations

import hashlib
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from conftest import SiteMaker

from harness.oracle.borders import read_batches
from harness.oracle.topics import Record, read_progress, read_topics
from harness.oracle.values import UNAVAILABLE
from harness.processes import wait_until
from harness.site import Site

DOCUMENTS = ("public", "documents")
SECRET_ROW = "row-content-that-no-log-may-hold"


def records(site: Site, table: tuple[str, str] = DOCUMENTS) -> list[Record]:
    """A table's records in commit order over all partitions, once the agent has caught up."""
    site.auditor.wait_kafka()
    found = [r for records in read_topics(site.stack.kafka.brokers, [site.agent.topic(table)]).values() for r in records]
    return sorted(found, key=lambda r: (r.position.commit_lsn, r.position.ordinal, r.offset) if r.position else (0, 0, 0))


def value(record: Record) -> dict[str, Any]:
    assert record.value is not None
    return json.loads(record.value)


def clean(site: Site, **more: Any) -> None:
    verdict = site.auditor.verdict(**more)
    print(verdict.line())
    assert verdict.clean, verdict.report()


def test_insert_update_delete(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.documents values (1, 'a', null, '2026-11-25 10:00:00.5+00')",
             "update public.documents set title = 'b' where id = 1", "delete from public.documents where id = 1")
    found = records(site)
    assert [None if r.value is None else value(r)["op"] for r in found] == ["c", "u", "d", None]
    assert all(r.key == b'{"id":1}' for r in found)
    created = value(found[0])
    assert created["before"] is None
    assert created["after"] == {"id": 1, "title": "a", "body": None, "at": "2026-11-25T10:00:00.500000Z"}
    source = created["source"]
    assert source["connector"] == "postgresql" and source["name"] == site.agent.name and source["db"] == site.database
    assert (source["schema"], source["table"]) == DOCUMENTS and created["transaction"] is None
    assert value(found[2])["after"] is None and value(found[2])["before"]["id"] == 1
    clean(site)


def test_changed_key_is_a_linked_delete_and_create(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.documents values (1, 'a', null, null)", "update public.documents set id = 2 where id = 1")
    found = records(site)[1:]
    steps = [(r.key, None if r.value is None else value(r)["op"]) for r in found]
    assert sorted(steps, key=str) == sorted([(b'{"id":1}', "d"), (b'{"id":1}', None), (b'{"id":2}', "c")], key=str)
    clean(site)


def test_truncate(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.documents values (1, 'a', null, null)", "truncate public.documents, public.positions, public.unpublished")
    last = records(site)[-1]
    assert last.key is None and value(last)["op"] == "t" and value(last)["before"] is None and value(last)["after"] is None
    assert value(records(site, ("public", "positions"))[-1])["op"] == "t"
    clean(site)


def test_unchanged_toast_is_marked_and_never_null(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.documents values (1, 'a', (select string_agg(md5(n::text), '') from generate_series(1, 200) n), null)",
             "update public.documents set title = 'b' where id = 1")
    assert value(records(site)[-1])["after"]["body"] == UNAVAILABLE
    clean(site)


def test_replica_identity_full_fills_toast_from_the_old_row(make: SiteMaker) -> None:
    site = make()
    site.sql("alter table public.documents replica identity full")
    site.init().run()
    site.sql("insert into public.documents values (1, 'a', (select string_agg(md5(n::text), '') from generate_series(1, 200) n), null)",
             "update public.documents set title = 'b' where id = 1")
    updated = value(records(site)[-1])
    assert updated["before"]["title"] == "a" and updated["after"]["title"] == "b"
    assert updated["after"]["body"] == updated["before"]["body"] != UNAVAILABLE
    assert records(site)[-1].key == b'{"id":1}', "with FULL the key is the catalog's primary key"


def test_composite_key_in_the_order_of_the_index(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.positions values (7, 'NTN-B', '2026-11-25', 1.5, true, '\\x00ff')",
             "delete from public.positions")
    first = records(site, ("public", "positions"))[0]
    assert first.key == b'{"day":"2026-11-25Z","account":7,"bond":"NTN-B"}'
    assert value(first)["after"] == {"account": 7, "bond": "NTN-B", "day": "2026-11-25Z", "amount": "1.5000", "ok": True, "raw": "AP8="}
    clean(site)


def test_savepoints_and_rollbacks_leave_nothing(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("begin", "insert into public.documents values (1, 'kept', null, null)", "savepoint s",
             "insert into public.documents values (2, 'gone', null, null)", "rollback to s",
             "insert into public.documents values (3, 'kept', null, null)", "commit",
             "begin", "insert into public.documents values (4, 'gone', null, null)", "rollback",
             "insert into public.documents values (5, 'last', null, null)")
    assert [value(r)["after"]["id"] for r in records(site)] == [1, 3, 5]
    clean(site)


def test_mixed_case_gold_columns_and_text(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("""insert into public.dadostesouroipca_gold values ('2005-07-18', 'IPCA "ação" 😀', 4, 8.775, 'NaN', 1e22, -0.0, null, 0.1)""")
    row = records(site, ("public", "dadostesouroipca_gold"))[0]
    after = value(row)["after"]
    assert list(after)[:2] == ["Data_Base", "Tipo"] and after["Tipo"] == 'IPCA "ação" 😀' and after["venda_manha_media"] == "NaN"
    clean(site)


def test_logical_messages_are_no_obstacle(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("select pg_logical_emit_message(false, 'p', 'at once')", "begin", "insert into public.documents values (1, 'a', null, null)",
             "select pg_logical_emit_message(true, 'p', 'with the rows')", "insert into public.documents values (2, 'b', null, null)", "commit")
    assert [value(r)["after"]["id"] for r in records(site)] == [1, 2]
    clean(site)


@pytest.mark.seldom
def test_a_transaction_that_commits_right_behind_a_message_is_not_lost(make: SiteMaker) -> None:
    """A message outside transactions ends where the next record begins: a commit, where nothing else is written meanwhile."""
    site = make().init().run()
    seams = 0
    for number in range(1, 4):
        with psycopg.connect(site.stack.postgres.conninfo(site.database)) as writer:
            writer.execute("insert into public.documents values (%s, 'x', null, null)", (number,))
            row = site.connection.execute("select pg_logical_emit_message(false, 'p', 'm') - '0/0'::pg_lsn").fetchone()
            assert row is not None
            message = int(row[0])
            site.agent.wait_stored(message)
            seams += read_progress(site.stack.kafka.brokers, site.agent.name)[-1].lsn == message
            site.agent.kill()
            if number == 1:
                # The server's WAL ends with the message too, and is not taken for one restored to an older point.
                site.run()
                site.agent.kill()
            writer.commit()
        site.run()
        assert [value(r)["after"]["id"] for r in records(site)] == list(range(1, number + 1))
    assert seams, "something else was written each time"
    messages = [r for part in read_topics(site.stack.kafka.brokers, [f"{site.agent.name}.message"]).values() for r in part]
    assert [value(r)["message"]["content"] for r in messages] == ["bQ=="] * 3
    clean(site)


@pytest.mark.seldom
def test_a_message_in_a_stream_that_never_rests_is_dated_by_the_servers_clock(make: SiteMaker) -> None:
    """C6: hours are sealed by that clock. What commits, of a replication origin, says nothing of it, and the next message belongs behind."""
    # What was handed on is not in Kafka yet, nearly all the time.
    site = make({"kafka": {"transaction": {"interval": "4s"}}}).init().run("--only", "stream")
    origin, read = f"o_{site.name}", [f"{site.agent.name}.message"]
    site.sql("insert into public.documents values (0, 'its commit tells the clock', null, null)")
    site.auditor.wait_kafka()
    with psycopg.connect(site.stack.postgres.conninfo(site.database), autocommit=True) as writer:
        writer.execute("select pg_replication_origin_create(%s)", (origin,))
        writer.execute("select pg_replication_origin_session_setup(%s)", (origin,))
        began = time.time()
        number = 0
        while time.time() < began + 16:  # the agent looks at the server each 5 s
            number += 1
            with writer.transaction():
                writer.execute("select pg_replication_origin_xact_setup('0/1', '2020-02-20')")
                writer.execute("insert into public.documents values (%s, 'x', null, null)", (number,))
            time.sleep(0.003)
        writer.execute("select pg_logical_emit_message(false, 'p', 'm')")
        emitted = time.time()
    site.auditor.wait_kafka()
    message = next(r for part in read_topics(site.stack.kafka.brokers, read).values() for r in part)
    assert emitted - 8 < value(message)["source"]["ts_ms"] / 1000 <= emitted + 1
    assert site.agent.stop() == 0
    site.sql(f"select pg_replication_origin_drop('{origin}')")


def test_without_tombstones(make: SiteMaker) -> None:
    site = make({"events": {"tombstones": False}}).init().run()
    site.sql("insert into public.documents values (1, 'a', null, null)", "delete from public.documents")
    assert [value(r)["op"] for r in records(site)] == ["c", "d"]
    clean(site, tombstones=False)
    assert site.agent.stop() == 0
    verified = site.agent.must("verify", "--table", "public.documents")
    assert verified.out.count("0 rows, 2 changes: equal") == 2, verified.text


def test_flat_envelope(make: SiteMaker) -> None:
    site = make({"events": {"envelope": "flat"}}).init().run()
    site.sql("insert into public.documents values (1, 'a', repeat('x', 4000), null)", "update public.documents set title = 'b' where id = 1",
             "delete from public.documents")
    inserted, updated, *_ = (value(r) for r in records(site) if r.value is not None)
    assert inserted["id"] == 1 and {"_op", "_lsn", "_commit_ts", "_xid", "_seq"} <= set(inserted)
    assert updated["_unchanged"] == ["body"] and "body" not in updated
    site.sql("insert into public.documents values (2, 'c', repeat('x', 4000), null)", "update public.documents set title = 'd' where id = 2")
    clean(site, envelope="flat")
    assert site.agent.stop() == 0
    verified = site.agent.must("verify", "--table", "public.documents")
    assert verified.out.count("1 rows, 5 changes: equal") == 2, verified.text
    # A column of the envelope's own name.
    site.sql("alter table public.documents add column _op text")
    site.agent.start("--only", "stream")
    site.sql("insert into public.documents values (3, 'e', null, null, 'mine')")
    assert site.agent.running().wait(30) == 5
    log = site.agent.said()
    assert 'public.documents' in log and 'column "_op"' in log, log[-1500:]


CHOICES = {"numeric": "number", "timestamps": "epoch", "json": "inline"}


@pytest.mark.parametrize("envelope", ["debezium", "flat"])
def test_numbers_times_and_json_by_choice(make: SiteMaker, envelope: str) -> None:
    """Byte for byte, as the reference says; and `verify` reads them back."""
    site = make({"events": {**CHOICES, "envelope": envelope}}, tables=[("public", "chosen")])
    site.sql("create table public.chosen (id int primary key, n numeric, d date, t time, ts timestamp, tz timestamptz, j json, jb jsonb, more timestamptz)",
             "alter table public.chosen owner to sluice")
    site.init().run()
    site.sql("""insert into public.chosen values (1, 123456789012345678901234567890.1234567890, '2024-02-29', '12:34:56.5', '2024-02-29 12:34:56.5',
                '2024-02-29 12:34:56.5+02', '{"b" : [1, 1.10, "é\\u0041"],  "a": null}', '{"b": {"c": 1e2}, "a": [ ]}', 'infinity'),
                (2, 'NaN', '-infinity', '24:00:00', '0044-03-15 00:00:00 BC', '1969-12-31 23:59:59.999999+00', '"text"', 'true', '-infinity'),
                (3, -0.10, '1969-12-31', '00:00', 'infinity', null, 'null', null, null)""",
             "update public.chosen set n = 1.10 where id = 3", "delete from public.chosen where id = 2")
    found = [record.value.decode() for record in records(site, ("public", "chosen")) if record.value is not None]
    wanted = ('"id":1,"n":123456789012345678901234567890.1234567890,"d":19782,"t":45296500000,"ts":1709210096500000,"tz":1709202896500000,'
              '"j":{"b":[1,1.10,"é\\u0041"],"a":null},"jb":{"a":[],"b":{"c":100}},"more":"infinity"',
              '"id":2,"n":"NAN","d":"-infinity","t":86400000000,"ts":-63517824000000000,"tz":-1,"j":"text","jb":true,"more":"-infinity"',
              '"id":3,"n":-0.10,"d":-1,"t":0,"ts":"infinity","tz":null,"j":null,"jb":null,"more":null',
              '"id":3,"n":1.10,"d":-1,"t":0,"ts":"infinity","tz":null,"j":null,"jb":null,"more":null')
    for text, row in zip(found, wanted, strict=False):
        assert ('"after":{' + row + "}" if envelope == "debezium" else "{" + row + ',"_op":') in text, text
    assert len(found) == 5
    if envelope == "flat":
        assert isinstance(json.loads(found[0])["_commit_ts"], int)
    site.auditor.wait_objects(read_topics(site.stack.kafka.brokers, site.auditor.topics))
    assert site.agent.stop() == 0
    verified = site.agent.must("verify")
    assert verified.out.count("2 rows, 5 changes: equal") == 2, verified.text


def test_a_domain_is_written_as_what_it_is_over(make: SiteMaker) -> None:
    """And a column of that very type, beside one of the domain, as ever: the catalog describes both in one answer. Those that every
    database has are domains too."""
    site = make({"s3": None}, tables=[("public", "priced")])
    site.sql("create domain public.small as int", "create domain public.rate as numeric(10, 2)", "create domain public.tiny as public.small",
             "create table public.priced (id int primary key, s public.small, y public.tiny, r public.rate, i int, n numeric, b bool, f float8, a int[],"
             " c information_schema.cardinal_number, t information_schema.time_stamp)",
             "alter table public.priced owner to sluice")
    site.init().run("--only", "stream")
    site.sql("insert into public.priced values (1, 7, 8, 1.5, 9, 2.50, true, 0.5, '{1,null}', 6, '2024-02-29 12:34:56.789Z')")
    [record] = records(site, ("public", "priced"))
    assert record.key == b'{"id":1}'
    assert record.value and b'"after":{"id":1,"s":7,"y":8,"r":"1.50","i":9,"n":"2.50","b":true,"f":0.5,"a":[1,null],"c":6,"t":"2024-02-29T12:34:56.79Z"}' in record.value, \
        record.value
    assert site.agent.stop() == 0
    site.agent.must("verify")


@pytest.mark.parametrize("identity", ["the primary key", "an index"])
def test_rows_that_were_loaded_without_a_key_have_the_one_that_is_there_now(make: SiteMaker, identity: str) -> None:
    """What a bulk load does, as one transaction and as several."""
    site = make({"s3": None}, tables=[("public", "loaded")])
    site.sql("create table public.loaded (id int primary key, code int not null)", "create unique index loaded_code on public.loaded (code)",
             "alter table public.loaded owner to sluice")
    if identity == "an index":
        site.sql("alter table public.loaded replica identity using index loaded_code")
        drop, again = "drop index public.loaded_code", "create unique index loaded_code on public.loaded (code)"
    else:
        drop, again = "alter table public.loaded drop constraint loaded_pkey", "alter table public.loaded add primary key (id)"
    site.init()
    site.sql("insert into public.loaded values (1, 10)", "begin", drop, "insert into public.loaded values (2, 20)", again, "commit",
             drop, "insert into public.loaded values (3, 30)", again, "insert into public.loaded values (4, 40)")
    site.run("--only", "stream")
    keys = [json.loads(record.key or b"") for record in records(site, ("public", "loaded"))]
    # An index that is made again is not the identity by that: the primary key is there.
    first = {"code": 10} if identity == "an index" else {"id": 1}
    assert keys == [first, {"id": 2}, {"id": 3}, {"id": 4}], keys
    assert site.agent.stop() == 0
    if identity != "an index":
        site.agent.must("verify")


def test_a_template_a_codec_and_the_size_of_objects(make: SiteMaker) -> None:
    """The original pipeline's topics, batches compressed by another codec than the client's own, objects closed by their size."""
    size = 2 << 20
    site = make({"kafka": {"topic": "postgres-{table}", "partitions": 1, "client": {"compression.codec": "zstd"}},
                 "s3": {"rotate": {"bytes": size, "age": "3s"}}}, tables=[DOCUMENTS])
    # One name for every site: those before this one are gone.
    topic = "postgres-documents"
    assert site.agent.topic(DOCUMENTS) == topic
    site.stack.kafka.delete_topics([topic])
    wait_until("no such topic", lambda: topic not in site.stack.kafka.topics(), 20)
    site.init().run()
    site.sql("insert into public.documents select n, 'x', (select string_agg(md5((n * 100 + m)::text), '') from generate_series(1, 16) m), null"
             " from generate_series(1, 12000) n")
    clean(site)
    stored = sorted(site.lake.read([topic]), key=lambda found: found.start)
    *full, last = (found.size for found in stored)
    # What is read together, some 2 MB, is written together: an object ends that much behind its bound.
    assert len(full) >= 2 and all(size <= one < size + (5 << 19) for one in full) and last < size + (5 << 19), [*full, last]
    [folder] = [root / f"{topic}-0" for root in site.stack.kafka.data_folders]
    codecs = {batch.compression for batch in read_batches(folder) if not batch.control}
    assert codecs == {4}, "zstd"
    assert site.agent.stop() == 0


@pytest.mark.parametrize("compression", ["gzip", "lz4"])
def test_compressed_objects(make: SiteMaker, compression: str) -> None:
    site = make({"s3": {"compression": compression}}).init().run()
    with site.workload(large_every=40, large_rows=3000):
        time.sleep(3)
    clean(site)
    suffix = {"gzip": ".json.gz", "lz4": ".json.lz4"}[compression]
    assert all(stored.name.endswith(suffix) for stored in site.lake.read(site.auditor.topics))
    other = site.twin("other", {"s3": {"compression": "none"}})
    assert site.agent.stop() == 0
    other.start("--only", "sink")  # beside a stream it would end the sink only
    assert other.running().wait(60) == 78, "layout and compression are pinned"
    assert "compression" in other.log.read_text()


def test_local_directory_as_store(make: SiteMaker) -> None:
    site = make(file_store=True).init().run()
    with site.workload(large_every=40, large_rows=3000):
        time.sleep(2)
        site.agent.kill()
        site.agent.start().wait_ready()
        time.sleep(2)
    clean(site)
    assert site.agent.stop() == 0
    site.agent.must("verify")


def test_too_large_a_row_stops_with_5_before_anything_is_visible(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.documents values (1, 'small', null, null)")
    assert len(records(site)) == 1
    site.sql("begin", "insert into public.documents values (2, 'small, same transaction', null, null)",
             "insert into public.documents values (98765, 'large', (select string_agg(md5(n::text), '') from generate_series(1, 100000) n), null)",
             "commit")
    assert site.agent.running().wait(60) == 5
    log = site.agent.log.read_text()
    told = re.search(r"size: (\d+) bytes, max.message.bytes: ", log)
    assert "public.documents" in log and '{"id":98765}' in log and told, log[-2000:]
    assert 3_200_000 < int(told[1]) < 3_300_000, "the size is named"
    visible = [r for found in read_topics(site.stack.kafka.brokers, [site.agent.topic(DOCUMENTS)]).values() for r in found]
    assert len(visible) == 1


# It has not even the column that is the key now.
WITHOUT_KEY = ("begin", "alter table public.documents drop constraint documents_pkey", "alter table public.documents rename id to former",
               "insert into public.documents values ({0}, 'without a key', null, null)", "alter table public.documents rename former to id",
               "alter table public.documents add primary key (id)", "insert into public.documents values ({1}, 'behind it', null, null)", "commit")


def test_a_row_that_cannot_be_represented_goes_to_the_dead_letter_topic_once(make: SiteMaker) -> None:
    site = make({"kafka": {"partitions": 2}})
    site.stack.kafka.create_topic(site.agent.topic(DOCUMENTS), 2, max_message_bytes="4000000")
    site.init().run()
    site.sql("insert into public.documents values (1, 'before', null, null)")
    assert len(records(site)) == 1
    site.sql(*(text.format(2, 3) for text in WITHOUT_KEY))
    assert site.agent.running().wait(60) == 5
    assert "has no key" in site.agent.log.read_text() and "kafka.dead_letter_topic" in site.agent.log.read_text()
    # The way out that it names: nothing is lost, and nothing accepted.
    topic = f"dead-{site.agent.name}"
    site.agent.settings["kafka"] = {**site.agent.settings["kafka"], "dead_letter_topic": topic}
    site.agent.write()
    site.agent.must("init")
    assert topic in site.stack.kafka.topics()
    site.run()

    def read() -> tuple[list[int], list[Record]]:
        found = read_topics(site.stack.kafka.brokers, [site.agent.topic(DOCUMENTS), topic])
        everything = [record for those in found.values() for record in those]
        return (sorted(value(r)["after"]["id"] for r in everything if r.topic != topic), [r for r in everything if r.topic == topic])

    wait_until("the row behind it is there", lambda: 3 in read()[0], 60)
    # Killed while more of them come, each is there once.
    expected, dead = [1, 3], [2]
    for round in range(2):
        first = 10 * (round + 1)
        for offset in range(0, 6, 2):
            site.sql(*(text.format(first + offset, first + offset + 1) for text in WITHOUT_KEY))
            expected, dead = [*expected, first + offset + 1], [*dead, first + offset]
        site.agent.kill()
        site.run()
    # One for the last process, which may have had nothing left to do: as large as its table's topic takes.
    site.sql(*(text.format(98, 99).replace("key', null", "key', repeat('x', 3000000)") for text in WITHOUT_KEY))
    expected, dead = [*expected, 99], [*dead, 98]
    wait_until("all rows are there", lambda: len(read()[0]) >= len(expected), 60)
    rows, letters = read()
    assert rows == sorted(expected)
    contents = [value(letter) for letter in letters]
    assert sorted(int(content["after"]["former"]) for content in contents) == sorted(dead)
    for letter, content in zip(letters, contents, strict=True):
        assert json.loads(letter.key or b"") == {"schema": "public", "table": "documents"}
        assert content["op"] == "c" and content["before"] is None and content["column"] is None and "has no key" in content["reason"], content
        assert letter.position is not None and letter.position_text.split("/", 1)[1].startswith(f"{content['commit_lsn']}/{content['ordinal']}/")
    wait_until("they are counted", lambda: site.agent.metrics()["sluice_dead_letters_total"] > 0, 20)
    counted = int(site.agent.metrics()["sluice_dead_letters_total"])
    status = site.agent.command("status")
    assert f"{counted} dead letters" in status.out, status.text
    # The sink leaves them alone.
    wait_until("rows are in objects", lambda: bool(site.lake.listing([site.agent.topic(DOCUMENTS)])), 60)
    assert not site.lake.listing([topic])
    assert site.agent.stop() == 0
    # And `verify` does not pass over them.
    verified = site.agent.command("verify")
    assert verified.code == 1 and f"{len(dead)} missing" in verified.text, verified.text


def test_text_that_is_not_utf8_is_named_or_set_aside(make: SiteMaker) -> None:
    """A database in SQL_ASCII holds any bytes."""
    site = make(encoding="SQL_ASCII").init().run("--only", "stream")
    topics = [site.agent.topic(DOCUMENTS), f"{site.agent.name}.dead-letters"]

    def read(number: int) -> list[dict[str, Any]]:
        return [value(r) for found in read_topics(site.stack.kafka.brokers, [topics[number]]).values() for r in found]

    site.sql("insert into public.documents values (1, 'before', null, null)")
    wait_until("the row before it is there", lambda: len(read(0)) == 1, 30)
    assert site.agent.stop() == 0
    # Whole transactions that the start meets in one go with it: they are not kept back, whatever becomes of that row.
    for number in range(10, 20):
        site.sql(f"insert into public.documents values ({number}, 'before', null, null)")
    site.sql("begin", "insert into public.documents values (2, E'a\\377b', 'fine', null)", "insert into public.documents values (3, 'behind it', null, null)", "commit")
    site.agent.start("--only", "stream")
    assert site.agent.running().wait(60) == 5
    assert 'column "title": the text is not valid UTF-8' in site.agent.said()
    assert len(read(0)) == 11
    site.agent.settings["kafka"] = {**site.agent.settings["kafka"], "dead_letter_topic": topics[1]}
    site.agent.write()
    site.run("--only", "stream")
    wait_until("the row behind it is there", lambda: len(read(0)) == 12, 60)
    assert [row["after"]["title"] for row in sorted(read(0), key=lambda row: row["after"]["id"])][:3] == ["before", "behind it", "before"]
    [letter] = read(1)
    assert letter["column"] == "title" and letter["after"] == {"id": "2", "title": {"base64": "Yf9i"}, "body": "fine", "at": None}, letter
    assert site.agent.stop() == 0
    verified = site.agent.command("verify")
    assert verified.code == 1 and "1 unrepresentable" in verified.text, verified.text
    # As the runbook says.
    site.run("--only", "stream")
    site.sql("update public.documents set title = 'right', body = body || '' where id = 2")
    wait_until("the row is put right", lambda: len(read(0)) == 13, 30)
    assert len(read(1)) == 1 and site.agent.stop() == 0


@pytest.mark.seldom
def test_a_table_of_others_whose_name_is_not_utf8_is_in_nobodys_way(make: SiteMaker) -> None:
    """It would keep the agent from the whole catalog."""
    site = make({"s3": None}, encoding="SQL_ASCII")
    site.sql("do $$ begin execute 'create table public.' || quote_ident(E't\\351l\\351') || ' (id int primary key)'; end $$")
    site.agent.must("init")
    site.run("--only", "stream")
    site.sql("insert into public.documents values (1, 'sent', null, null)")
    wait_until("the row is there", lambda: sum(map(len, read_topics(site.stack.kafka.brokers, [site.agent.topic(DOCUMENTS)]).values())) == 1, 30)
    site.agent.must("check")
    site.agent.must("verify")
    time.sleep(6)  # for a look before the change
    assert not any('class="watch"' in name for name, value in site.agent.metrics().items() if value)
    alter = f'alter publication "{site.agent.publication}"'
    site.sql(f"{alter} drop table public.documents", "insert into public.documents values (2, 'lost', null, null)", f"{alter} add table public.documents")
    assert site.agent.running().wait(60) == 3
    done = site.agent.command("run", "--only", "stream")
    assert done.code == 3 and "cannot send a row" not in done.text, done.text


def test_text_that_has_no_equivalent_in_utf8_is_5(make: SiteMaker) -> None:
    """Bytes that a database's encoding takes and that stand for nothing: its server refuses to send them, at each attempt."""
    site = make(encoding="WIN1252").init().run("--only", "stream")
    site.sql("insert into public.documents values (1, 'ação €', null, null)")
    assert [value(r)["after"]["title"] for r in records(site)] == ["ação €"]
    site.sql("insert into public.documents values (2, convert_from('\\x618162', 'WIN1252'), null, null)")
    for _ in range(2):
        code = site.agent.running().wait(60)
        log = site.agent.said()
        assert code == 5 and "WIN1252" in log and "associated LSN" in log, log[-2000:]
        # At the next start the server has refused before anybody could listen.
        site.agent.start("--only", "stream")
    assert site.agent.running().wait(60) == 5


def test_no_row_data_in_logs(make: SiteMaker) -> None:
    site = make({"log": {"level": "debug", "format": "json"}}).init().run()
    site.sql(f"insert into public.documents values (1, '{SECRET_ROW}', null, null)")
    records(site)
    assert site.agent.stop() == 0
    log = site.agent.log.read_text()
    assert SECRET_ROW not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["level"] for line in lines} >= {"debug", "info"}, lines[:5]
    # What is graver than nothing that happens.
    quiet = site.twin("quiet", {"log": {"level": "error"}})
    quiet.start().wait_ready()
    assert quiet.stop() == 0 and not quiet.log.read_text()


def test_an_hour_is_complete_once_it_is_sealed(make: SiteMaker) -> None:
    """C6, with the commit times of a replication origin: an hour that is over, and the one that goes on."""
    site = make({"s3": {"seal_after": "1s"}}).init()
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    origin = f"o_{site.name}"
    with psycopg.connect(site.stack.postgres.conninfo(site.database), autocommit=True) as writer:
        writer.execute("select pg_replication_origin_create(%s)", (origin,))
        writer.execute("select pg_replication_origin_session_setup(%s)", (origin,))
        for at, rows in ((hour + timedelta(minutes=5), "1, 50"), (hour + timedelta(hours=4), "51, 51")):
            with writer.transaction():
                writer.execute("select pg_replication_origin_xact_setup('0/1', %s)", (at,))
                writer.execute(f"insert into public.documents select n, 'x', null, null from generate_series({rows}) n")
    site.run()
    topic, then, now = site.agent.topic(DOCUMENTS), f"{hour:%Y-%m-%dT%H:%M:%SZ}", f"{hour + timedelta(hours=4):%Y-%m-%dT%H:%M:%SZ}"
    wait_until("both hours have objects", lambda: len({o.hour for o in site.lake.read([topic])}) == 2, 60, pause=0.5)
    wait_until("the first is complete", lambda: site.agent.command("hours", "--hour", then, "--topic", topic).code == 0, 90, pause=1)
    going_on = site.agent.command("hours", "--hour", now)
    assert going_on.code == 1 and f"topic {topic}" in going_on.err, going_on.text
    table = site.agent.must("hours", "--last", "6", "--topic", topic).out
    # Between the two are hours without a row: complete, and empty.
    assert {"complete": 1, "open": 1} == {state: rows for state in ("complete", "open") if (rows := sum(
        1 for line in table.splitlines()[1:] if line.split()[2] == state and line.split()[3] != "0"))}, table
    sealed, *_, last = (json.loads(line) for line in site.agent.must("hours", "--last", "6", "--topic", topic, "--json").out.splitlines())
    assert (sealed["complete"], sealed["records"], sealed["late_objects"], last["complete"]) == (True, 50, 0, False)
    # What the manifest says is what the objects are.
    client = site.lake.client()
    manifest = json.loads(client.get_object(Bucket=site.lake.bucket, Key=f"{site.lake.prefix}/{sealed['manifest']}")["Body"].read())
    objects = {o.name: o for o in site.lake.read([topic]) if o.hour == f"{hour:%Y-%m-%dT%H}"}
    assert {entry["key"] for entry in manifest["objects"]} == set(objects) and manifest["records"] == 50
    for entry in manifest["objects"]:
        stored, body = objects[entry["key"]], client.get_object(Bucket=site.lake.bucket, Key=f"{site.lake.prefix}/{entry['key']}")["Body"].read()
        assert (entry["size"], entry["sha256"], entry["records"]) == (len(body), hashlib.sha256(body).hexdigest(), len(stored.lines))
        assert (str(entry["start"]), str(entry["end"])) == (stored.meta["start"], stored.meta["end"]) and entry["partition"] == stored.partition
    # Rows of two hours that are long over, put by a worker that is killed: the next one finds them, wherever they lie.
    late = [hour - timedelta(hours=hours) for hours in (90, 70)]
    with psycopg.connect(site.stack.postgres.conninfo(site.database), autocommit=True) as writer:
        writer.execute("select pg_replication_origin_session_setup(%s)", (origin,))
        for at, row in zip([*late, hour + timedelta(hours=4)], (52, 53, 54), strict=True):
            with writer.transaction():
                writer.execute("select pg_replication_origin_xact_setup('0/1', %s)", (at,))
                writer.execute("insert into public.documents values (%s, 'late', null, null)", (row,))
    wait_until("late objects are put", lambda: {f"{at:%Y-%m-%dT%H}" for at in late} <= {o.hour for o in site.lake.read([topic])}, 60, pause=0.1)
    site.agent.kill()
    site.agent.start().wait_ready()
    for at in late:
        wait_until(f"the hour {at} is complete", lambda at=at: site.agent.command(
            "hours", "--hour", f"{at:%Y-%m-%dT%H:%M:%SZ}", "--topic", topic).code == 0, 60, pause=1)
    site.agent.stop()
    # An hour that has lost an object is complete no more.
    client.delete_object(Bucket=site.lake.bucket, Key=f"{site.lake.prefix}/{manifest['objects'][0]['key']}")
    lost = site.agent.command("hours", "--hour", then, "--topic", topic)
    assert lost.code == 1 and "1 objects are gone" in lost.out, lost.text
    site.sql(f"select pg_replication_origin_drop('{origin}')")


def test_a_topic_that_takes_little_of_a_batch_takes_ordinary_rows(make: SiteMaker) -> None:
    """`max.message.bytes` counts a batch: only a record that is larger by itself is an error."""
    site = make({"kafka": {"client": {"compression.codec": "none"}}, "postgres": {"tables": ["public.documents", "public.positions", "public.late_*"]}},
                tables=[DOCUMENTS, ("public", "positions")])
    for table, limit in ((DOCUMENTS, "60000"), (("public", "positions"), "200000")):
        site.stack.kafka.create_topic(site.agent.topic(table), 3, max_message_bytes=limit)
    site.init().run("--only", "stream")
    site.sql("insert into public.documents select n, 'x', repeat(md5(n::text), 30), null from generate_series(1, 3000) n")
    site.auditor.wait_kafka()
    # One that takes less than all others and is made while the agent runs.
    late = ("public", "late_one")
    site.stack.kafka.create_topic(site.agent.topic(late), 3, max_message_bytes="20000")
    site.sql("create table public.late_one (id bigint primary key, v text)", "alter table public.late_one owner to sluice",
             f"alter publication {site.agent.slot} add table public.late_one",
             "insert into public.late_one select n, repeat(md5(n::text), 30) from generate_series(1, 1000) n")
    topic = site.agent.topic(late)
    wait_until("its rows are there", lambda: len(records(site, late)) == 1000, 60, pause=1)
    assert f"topic {topic} takes 20000 bytes of a batch" in site.agent.log.read_text()
    # One whose limit is lowered under the agent: its next session knows.
    site.stack.kafka.set_topic(site.agent.topic(DOCUMENTS), "max.message.bytes", "12000")
    site.sql("update public.documents set title = 'y'")
    clean(site, objects=False)


def test_verify_does_not_call_a_hole_equal(make: SiteMaker) -> None:
    """Records that went from Kafka before they were in an object are missing, also where later ones give the same rows."""
    site = make().init().run("--only", "stream")
    site.sql("insert into public.documents select n, 'x', null, null from generate_series(1, 30) n")
    site.auditor.wait_kafka()
    topic = site.agent.topic(DOCUMENTS)
    admin = site.stack.kafka.admin()
    for done in admin.delete_records([TopicPartition(topic, number, OFFSET_END) for number in range(3)]).values():
        done.result(20)
    site.sql("update public.documents set title = 'y'")
    site.auditor.wait_kafka()
    assert site.agent.stop() == 0
    found = site.agent.command("verify", "--table", "public.documents")
    assert found.code == 1 and "records are missing" in found.out, found.text
    told = json.loads(site.agent.command("verify", "--table", "public.documents", "--json").out)
    assert [(c["place"], c["hole"], c["missing"]) for c in told["comparisons"]] == [("kafka", False, 0), ("s3", True, 0)], told


def test_verify_misses_an_object_whose_rows_were_written_again(make: SiteMaker) -> None:
    """A reader of the hours that it held would miss them, although the last row of each key is right."""
    site = make({"kafka": {"partitions": 1}, "s3": {"rotate": {"age": "1s"}}}).init().run()
    topic = site.agent.topic(DOCUMENTS)
    for title in "xyz":
        site.sql(f"insert into public.documents select n, '{title}', null, null from generate_series(1, 30) n"
                 " on conflict (id) do update set title = excluded.title")
        records(site)
        # What is written later goes into another object.
        site.auditor.wait_objects(read_topics(site.stack.kafka.brokers, [topic]))
    assert site.agent.stop() == 0
    names = sorted(o.name for o in site.lake.read([topic]))
    assert len(names) >= 3 and site.agent.must("verify", "--table", "public.documents")
    client = site.lake.client()
    # One in the middle, the last one, whose records are still in Kafka, and all.
    for gone, why in ((names[1:2], f"of {topic} [0]"), (names[-1:], f"{names[-1]} was put, and is gone"), (names, "was put, and is gone")):
        kept = {}
        for name in gone:
            key = f"{site.lake.prefix}/{name}"
            there = client.get_object(Bucket=site.lake.bucket, Key=key)
            kept[key] = (there["Body"].read(), there["Metadata"])
            client.delete_object(Bucket=site.lake.bucket, Key=key)
        found = site.agent.command("verify", "--table", "public.documents")
        assert found.code == 1 and "records are missing" in found.out and why in found.out, found.text
        for key, (body, metadata) in kept.items():
            client.put_object(Bucket=site.lake.bucket, Key=key, Body=body, Metadata=metadata)
    site.agent.must("verify", "--table", "public.documents")
    # A store that is not there is no difference.
    elsewhere = site.twin("elsewhere", {"s3": {"url": "s3://not-there/lake"}})
    missing = elsewhere.command("verify", "--table", "public.documents")
    assert missing.code == 69 and "NoSuchBucket" in missing.text, missing.text


def test_verify_compares_what_is_published(make: SiteMaker) -> None:
    """A publication of an administrator's: of some rows, of some columns; and a table that others inherit from."""
    site = make(tables=[DOCUMENTS])
    site.sql("create table public.heirs () inherits (public.documents)",
             f"create publication {site.agent.slot} for table only public.documents (id, title) where (id > 10)")
    site.init().run("--only", "stream")
    site.sql("insert into public.documents select n, 'x', 'body', now() from generate_series(1, 30) n",
             "insert into public.heirs values (100, 'not published', null, null)", "delete from public.documents where id = 20",
             # An update that leaves the filter is a delete.
             "update public.documents set id = -5 where id = 15", "update public.documents set title = 'y' where id = 16")
    site.auditor.wait_kafka()
    assert site.agent.stop() == 0
    equal = site.agent.must("verify", "--table", "public.documents")
    assert "18 rows" in equal.out, equal.text
