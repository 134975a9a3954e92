"""What `verify` says where it cannot compare, or must wait. What it finds stands in the tests of what it finds it of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from conftest import DOCUMENTS, ServerMaker, SiteMaker, insert

from harness.agent import Agent, Done
from harness.processes import wait_until
from harness.site import Site

FILLED = "insert into public.documents select n, 'new', null, null from generate_series(1, 50) n"
PARTITIONED = "insert into public.readings select n, date '2025-12-15' + n, 'new' from generate_series(1, 50) n"
TABLES = [*DOCUMENTS, ("public", "readings")]


def readers(site: Site, waits: bool = False) -> set[int]:
    """The connections of a `verify` that see its snapshot; or that wait for a lock."""
    wanted = "wait_event_type = 'Lock'" if waits else "state = 'idle in transaction'"
    return {row[0] for row in site.connection.execute(
        f"select pid from pg_stat_activity where datname = current_database() and application_name = 'sluice' and backend_type = 'client backend' and {wanted}")}  # type: ignore[arg-type]


@contextmanager
def verifying(agent: Agent, *arguments: str) -> Iterator[Future[Done]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(agent.command, "verify", *arguments, timeout=180)


def equal(out: str, table: str, place: str, rows: int) -> bool:
    return any(line.split(":")[0].split()[:4] == [f"public.{table}", place, str(rows), "rows,"] and line.endswith(": equal") for line in out.splitlines())


@pytest.mark.parametrize("statements", [
    pytest.param(("truncate public.documents, public.readings", FILLED, PARTITIONED), id="truncate"),
    pytest.param(("alter table public.documents alter title type varchar(100) using title || ''",
                  "alter table public.readings alter v type varchar(100) using v || ''"), id="rewrite", marks=pytest.mark.seldom)])
def test_verify_beside_a_truncate_or_a_rewrite_compares_again(make: SiteMaker, statements: tuple[str, ...]) -> None:
    """They do not heed the snapshot that is there: it shows no row of the table any more, and Kafka all that were in it."""
    site = make(tables=TABLES, wide=True).init().run()
    site.sql(FILLED, PARTITIONED, "insert into public.positions values (1, 'a', '2026-01-01', 1)")
    site.auditor.wait_kafka()
    site.agent.pause()  # until it goes on Kafka has nothing of what comes now, and verify waits for it
    with verifying(site.agent) as verified:
        wait_until("verify has its snapshot", lambda: readers(site), 30)
        with site.connection.transaction():
            site.sql(*statements)
        site.agent.resume()
        told = verified.result()
    assert told.code == 0 and told.out.count("as of ") == 2, told.text
    for place in ("kafka", "s3"):
        for table, rows in (("documents", 50), ("readings", 50), ("positions", 1)):
            assert equal(told.out, table, place, rows), told.text
    assert site.agent.stop() == 0


def test_verify_of_a_table_that_is_truncated_each_time_is_69(make: SiteMaker) -> None:
    """It says so, and judges the others. Until it reads the table it holds nobody up."""
    site = make({"s3": None}, tables=DOCUMENTS).init().run("--only", "stream")
    insert(site, 1)
    site.auditor.wait_kafka()
    site.agent.pause()
    seen: set[int] = set()
    with verifying(site.agent) as verified, site.stack.postgres.connect(site.database) as other:
        for number in range(3):
            wait_until("verify has a snapshot", lambda: readers(site) - seen or verified.done(), 40)
            assert not verified.done(), verified.result().text
            seen |= readers(site)
            for statement in ("begin", "set local lock_timeout = '2s'", "truncate public.documents", FILLED):
                other.execute(statement)  # type: ignore[arg-type]
            site.agent.resume()
            site.sql(f"insert into public.positions values ({number}, 'a', '2026-01-01', 1)")
            wait_until("verify waits for the table", lambda: readers(site, waits=True), 40)
            site.agent.pause()  # so that the next snapshot is not in Kafka before the table is locked
            other.execute("commit")
        site.agent.resume()
        told = verified.result()
    assert told.code == 69, told.text
    assert "public.documents was truncated or rewritten while it was compared" in told.err and "-> run verify again" in told.err, told.text
    assert "public.documents was truncated or rewritten" in told.out and equal(told.out, "positions", "kafka", 0), told.text
    again = json.loads(site.agent.must("verify", "--json").out)
    assert again["not_compared"] == [] and {(one["table"], one["rows"]) for one in again["comparisons"]} == {("public.documents", 50), ("public.positions", 3)}, again
    assert site.agent.stop() == 0


def test_verify_judges_the_others_where_one_may_not_be_read(make: SiteMaker) -> None:
    """Of tables that the patterns happen to match, and of one that is named and is none."""
    site = make({"s3": None}, tables=DOCUMENTS).init().run("--only", "stream")
    insert(site, 1, 2)
    site.auditor.wait_kafka()
    assert site.agent.stop() == 0
    site.sql("create unlogged table public.stray_unlogged (id int primary key)", "create view public.stray_view as select 1 as id",
             "create table public.stray_root (id int primary key) partition by range (id)",
             "create table public.stray_detached partition of public.stray_root default", "alter table public.stray_root detach partition public.stray_detached",
             "grant select on public.stray_root to sluice")
    strays = site.twin("strays", {"postgres": {"tables": ["public.documents", "public.positions", "public.stray*", "public.stray_view"]}})
    told = strays.command("verify")
    assert told.code == 69 and equal(told.out, "documents", "kafka", 2) and equal(told.out, "stray_root", "kafka", 0), told.text
    for text in (told.out, told.err):
        for name in ("unlogged", "detached"):
            reason = f"could not be read: permission denied for table stray_{name}, and publication {site.agent.publication} does not publish it"
            assert f"public.stray_{name} {reason}" in text, told.text
        assert "public.stray_view is no ordinary table: only tables are decoded" in text, told.text
    assert "-> take public.stray_detached out of postgres.tables; or publish it (sluice check)" in told.err, told.text
    found = json.loads(strays.command("verify", "--json").out)
    assert {one["table"] for one in found["not_compared"]} == {f"public.stray_{name}" for name in ("unlogged", "detached", "view")}, found
    # The difference comes first.
    site.sql("delete from public.documents where id = 2", "revoke all on public.positions from sluice", "alter table public.positions owner to postgres")
    told = strays.command("verify")
    assert told.code == 1 and "extra: " in told.out and "public.positions could not be read: permission denied for table positions" in told.err, told.text
    assert "positions, and publication" not in told.text, "it is published"


def test_verify_before_the_first_init_is_3(site: Site) -> None:
    told = site.agent.command("verify")
    assert told.code == 3 and f"the progress topic holds no complete position for slot {site.agent.slot}" in told.err, told.text
    assert "kind: no-position" in told.err and "-> sluice init" in told.err, told.text


def test_verify_names_the_transactions_that_it_waits_for(server: ServerMaker) -> None:
    """On the terminal; and beside JSON, which is for scripts, on standard error."""
    site, _ = server("max_prepared_transactions = 4")
    site.agent.must("init")
    with site.stack.postgres.connect(site.database) as other:
        for statement in ("begin", "insert into public.unpublished values ('1', 'x')", "prepare transaction 'orphan'"):
            other.execute(statement)  # type: ignore[arg-type]
    with verifying(site.agent) as text, verifying(site.agent, "--json") as script:
        try:
            wait_until("both wait", lambda: len(site.connection.execute(
                "select 1 from pg_stat_activity where query like 'CREATE_REPLICATION_SLOT%' and wait_event_type = 'Lock'"
                " and now() - query_start > interval '2.5 s'").fetchall()) == 2, 30)
        finally:
            site.sql("commit prepared 'orphan'")
        shown, written = text.result(), script.result()
    assert shown.code == 0 and "waiting for 1 running transactions to end" in shown.out and "prepared transaction orphan" in shown.out, shown.text
    assert written.code == 0 and "prepared transaction orphan" in written.err and json.loads(written.out)["comparisons"], written.text
