"""Transactions that are received before their commit (protocol 2): nothing of them shows before, all of it once, whatever is killed."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from conftest import ServerMaker, SiteMaker

from harness.agent import Agent
from harness.campaign.__main__ import die_at, wait_dead
from harness.oracle.topics import read_progress, read_topics
from harness.processes import wait_until
from harness.site import Site

ONLY = ("--only", "stream")


def streamed(site: Site, setting: str = "logical_decoding_work_mem=64kB") -> Site:
    """Protocol 2, and small transactions are large ones for this walsender."""
    site.agent.settings["postgres"]["streaming"] = "on"
    url = site.agent.settings["postgres"]["url"]
    site.agent.settings["postgres"]["url"] = f"{url}?options=-c%20{setting.replace('=', '%3D')}"
    site.agent.write()
    return site


def session(site: Site) -> psycopg.Connection[tuple]:
    return site.stack.postgres.connect(site.database, autocommit=False)


def rows(first: int, count: int, note: str = "kept", size: int = 32) -> str:
    return ("insert into public.documents select n, '" + note + f"', repeat(md5(n::text), {size // 32}), null"
            f" from generate_series({first}, {first + count - 1}) n")


def spooled(agent: Agent) -> list[str]:
    """The files that hold streamed transactions: they have no names, so that they go with the process."""
    found = []
    for one in Path(f"/proc/{agent.running().pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(one))
    return [link for link in found if "(deleted)" in link]


def count(site: Site, name: str) -> float:
    return sum(value for sample, value in site.agent.metrics().items() if sample.split("{")[0] == name)


def refusals(site: Site, kind: str) -> float:
    return sum(value for sample, value in site.agent.metrics().items()
               if sample.startswith("sluice_errors_total") and 'component="streaming"' in sample and f'class="{kind}"' in sample)


def stream_counts(site: Site) -> tuple[int, int]:
    row = site.connection.execute(
        "select stream_bytes, spill_bytes from pg_stat_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone()
    assert row is not None
    return row[0], row[1]


def assert_exact(site: Site, changes: int) -> None:
    verdict = site.auditor.verdict(objects=False)
    print(verdict.line())
    assert verdict.clean and verdict.changes == changes, verdict.report()


def test_interleaved_savepoints_rollbacks_and_a_changed_table(make: SiteMaker) -> None:
    site = streamed(make()).init().run(*ONLY)
    with session(site) as a, session(site) as b, session(site) as c:
        a.execute(rows(1, 3000))
        b.execute(rows(10_001, 2000))
        site.sql("insert into public.documents values (99001, 'small, while both are open', null, null)")
        a.execute("savepoint one")
        a.execute(rows(20_001, 3000, "rolled back"))
        a.execute("update public.documents set title = 'rolled back' where id <= 2000")
        a.execute("rollback to savepoint one")
        a.execute("select pg_logical_emit_message(true, 'p', 'inside'), pg_logical_emit_message(false, 'p', 'not of it')")
        a.execute("savepoint two")
        a.execute(rows(30_001, 2000))
        a.execute("alter table public.positions add column extra text default 'x'")
        a.execute("insert into public.positions select 7, 'bond ' || n, '2026-01-01', n, true, null, 'e' || n from generate_series(1, 2000) n")
        a.execute("release savepoint two")
        c.execute(rows(40_001, 4000, "rolled back as a whole"))
        wait_until("three transactions are being received", lambda: count(site, "sluice_streaming_open_transactions") == 3, 20)
        assert len(spooled(site.agent)) >= 3 and count(site, "sluice_streaming_spool_bytes") > 0
        wait_until("the small one is there", lambda: count(site, "sluice_rows_total") == 1, 20)
        b.execute("delete from public.documents where id between 10001 and 11000")
        assert count(site, "sluice_rows_total") == 1, "nothing shows before its commit"
        b.commit()
        site.sql("insert into public.documents values (99002, 'small, behind one of them', null, null)")
        c.rollback()
        a.commit()
    site.sql("insert into public.positions values (8, 'bond', '2026-01-01', 1, true, null, 'after')")
    assert_exact(site, 3000 + 2000 + 1000 + 2 + 1 + 4000 + 1)
    assert stream_counts(site)[0] > 0
    assert count(site, "sluice_streaming_transactions_total") == 2
    assert not spooled(site.agent) and count(site, "sluice_streaming_spool_bytes") == 0
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_killed_while_it_receives_and_while_it_publishes(make: SiteMaker) -> None:
    """Split as it is: begun with protocol 2, gone on with protocol 1, ended with protocol 2 (the ordinals are the same)."""
    site = streamed(make({"kafka": {"transaction": {"rows": 1000}, "split": {"rows": 4000}}})).init().run(*ONLY)

    def receiving() -> bool:
        return count(site, "sluice_streaming_spool_bytes") > 100_000
    with session(site) as large:
        large.execute(rows(1, 30_000))
        wait_until("it is being received", receiving, 20)
        site.agent.kill()
        # Of fifteen parts and more it dies at the fourth; some of the four may be idle positions.
        die_at("after-commit", 4, site.agent, *ONLY).wait_ready()
        large.execute("savepoint a")
        large.execute(rows(50_001, 1000, "rolled back"))
        large.execute("rollback to savepoint a")
        large.execute(rows(60_001, 30_000))
        wait_until("it is being received again", receiving, 20)
        large.commit()
    before = 0
    for streaming in ("off", "on"):
        wait_dead(site.agent)
        ordinal = read_progress(site.stack.kafka.brokers, site.agent.name)[-1].ordinal
        assert ordinal > before, f"it died at change {ordinal}, and before at {before}"
        before = ordinal
        site.agent.settings["postgres"]["streaming"] = streaming
        site.agent.write()
        if streaming == "off":
            die_at("after-commit", 4, site.agent, *ONLY)
    site.run(*ONLY)
    assert count(site, "sluice_streaming") == 1
    assert_exact(site, 60_000)
    assert site.agent.stop() == 0


def test_an_idle_position_while_a_transaction_is_open(make: SiteMaker) -> None:
    """It moves past what was received of the transaction (C4), and a restart there gets the transaction whole."""
    site = streamed(make()).init().run(*ONLY)
    with session(site) as large:
        large.execute(rows(1, 3000))
        wait_until("it is being received", lambda: count(site, "sluice_streaming_open_transactions") == 1, 20)
        row = site.connection.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None

        def moved() -> bool:
            site.sql("insert into public.unpublished values (1, 'x') on conflict (id) do update set v = 'y'")
            stored = read_progress(site.stack.kafka.brokers, site.agent.name)
            return stored[-1].lsn > int(row[0])
        wait_until("the idle position passes it", moved, 40, pause=0.3)
        site.agent.kill()
        site.run(*ONLY)
        large.execute(rows(10_001, 1000))
        large.commit()
    assert_exact(site, 4000)
    assert site.agent.stop() == 0


@pytest.mark.only("pg18")
def test_what_does_not_fit_is_left_to_the_server(make: SiteMaker) -> None:
    site = streamed(make({"limits": {"spool": "1MiB"}})).init().run(*ONLY)
    noise = "insert into public.documents select n, 'large', (select string_agg(md5(random()::text), '') from generate_series(1, 30) where n > 0), null"
    with session(site) as large:
        large.execute(f"{noise} from generate_series(1, 6000) n")
        wait_until("protocol 1 is used", lambda: "protocol 1" in site.agent.log.read_text() and count(site, "sluice_streaming") == 0, 30)
        site.agent.wait_ready()
        assert refusals(site, "spool") == 1
        assert not spooled(site.agent)
        site.sql("insert into public.documents values (99001, 'small', null, null)")
        site.auditor.wait_kafka()
        large.execute(rows(10_001, 100))
        large.commit()
    assert_exact(site, 6101)

    row = site.connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    number = 0

    def over() -> bool:
        nonlocal number
        number += 1
        site.sql("checkpoint", f"insert into public.documents values ({90_000 + number}, 'small', null, null)")
        found = site.connection.execute("select restart_lsn > %s::pg_lsn from pg_replication_slots where slot_name = %s", (row[0], site.agent.slot))
        return bool((found.fetchone() or (False,))[0])
    wait_until("the server has decoded the end of the transaction", over, 30, pause=0.5)
    site.connection.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", (site.agent.slot,))
    wait_until("the next session uses protocol 2 again", lambda: count(site, "sluice_streaming") == 1, 30)
    site.agent.wait_ready()
    site.sql(rows(20_001, 2000))
    assert_exact(site, 8101 + number)
    assert site.agent.stop() == 0


def test_a_spool_directory_that_cannot_be_used(make: SiteMaker) -> None:
    site = streamed(make({"limits": {"spool_dir": "/proc/nowhere"}})).init().run(*ONLY)
    assert refusals(site, "disk") == 1
    site.sql(rows(1, 3000))
    assert_exact(site, 3000)
    assert count(site, "sluice_streaming") == 0 and "/proc/nowhere" in site.agent.log.read_text()
    assert site.agent.stop() == 0


def test_a_transaction_from_another_server(make: SiteMaker) -> None:
    """Protocol 2 does not say where it was committed there, and `source.origin_lsn` has to: it is left to protocol 1. Also where the
    transaction begins with what has no origin: the server then never tells that the rest has one."""
    site = streamed(make()).init().run(*ONLY)
    origin = f"o_{site.name}"
    with session(site) as other:
        other.execute("select pg_replication_origin_create(%s)", (origin,))
        other.execute("select pg_replication_origin_session_setup(%s)", (origin,))
        other.execute("select pg_replication_origin_xact_setup('0/ABCDEF', now())")
        other.execute(rows(1, 3000))
        other.commit()
    assert_exact(site, 3000)
    source = json.loads(next(record for found in read_topics(site.stack.kafka.brokers, site.auditor.topics).values() for record in found).value)["source"]
    assert (source["origin"], source["origin_lsn"]) == (origin, 0xABCDEF)
    assert refusals(site, "origin") == 1 and count(site, "sluice_streaming") == 0
    site.agent.stop()
    site.sql(f"select pg_replication_origin_drop('{origin}')")


def test_prepared_transactions_come_at_their_commit(server: ServerMaker) -> None:
    """In two phases, the second from another session (trap 36): each comes whole, once, behind what was committed before its second."""
    site, _ = server("max_prepared_transactions = 4")

    def prepare(name: str, *statements: str) -> None:
        with site.stack.postgres.connect(site.database) as other:
            for statement in ("begin", *statements, f"prepare transaction '{name}'"):
                other.execute(statement)  # type: ignore[arg-type]
    prepare("before", rows(90_001, 10))
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(site.agent.must, "init")
        wait_until("init waits for it", lambda: site.connection.execute(
            "select 1 from pg_replication_slots where slot_name = %s", (site.agent.slot,)).fetchone(), 30)
        time.sleep(2)
        assert not made.done(), "a slot that does not wait would see half of it"
        site.sql("commit prepared 'before'")
        told = made.result()
    assert "prepared transaction before" in told.out, told.text
    _ = site.auditor
    changes = 0
    for first, streaming in ((1, "off"), (10_001, "on")):
        site.agent.settings["postgres"]["streaming"] = streaming
        streamed(site) if streaming == "on" else site.agent.write()
        site.run(*ONLY)
        prepare("rolled back", rows(first + 6000, 3000))
        prepare("kept", rows(first, 3000), f"update public.documents set title = 'prepared' where id = {first}")
        site.sql(f"insert into public.documents values ({first + 5000}, 'small, between the two phases', null, null)")
        wait_until("the small one is there", lambda: count(site, "sluice_rows_total") == 1, 20)
        if streaming == "on":
            wait_until("both are received", lambda: count(site, "sluice_streaming_open_transactions") == 2, 20)
        else:
            site.agent.kill()
            site.run(*ONLY)
        site.sql("rollback prepared 'rolled back'", "commit prepared 'kept'", f"update public.documents set title = 'after' where id = {first}")
        changes += 1 + 3001 + 1
        assert_exact(site, changes)
        assert count(site, "sluice_streaming_transactions_total") == (1 if streaming == "on" else 0)
        assert site.agent.stop() == 0


@pytest.mark.only("pg18")
def test_everything_is_streamed_and_killed(make: SiteMaker) -> None:
    """Only this server can be told to stream each change at once."""
    site = streamed(make(), "debug_logical_replication_streaming=immediate").init().run()
    with site.workload(large_every=100, large_rows=2000):
        for _ in range(3):
            time.sleep(1.5)
            site.agent.kill()
            site.agent.start()
            site.agent.wait_ready()
    verdict = site.auditor.verdict()
    print(verdict.line())
    assert verdict.clean and verdict.changes > 100, verdict.report()
    assert count(site, "sluice_streaming_transactions_total") > 0 and not site.agent.stop()
