"""`init` beside others that go on meanwhile, cut off, and with slots that are not its own; what it says leads on."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from conftest import DOCUMENTS, ServerMaker, SiteMaker, insert, progress

from harness.agent import binary, confirmed, merge
from harness.campaign.__main__ import failpoints
from harness.oracle.source import parse_lsn
from harness.oracle.topics import read_progress, read_topics
from harness.processes import Process, wait_until
from harness.site import Site


def sent(site: Site, table: str = "documents") -> Counter[int]:
    """How often each row is in Kafka."""
    found = read_topics(site.stack.kafka.brokers, [site.agent.topic(("public", table))])
    return Counter(json.loads(record.key)["id"] for records in found.values() for record in records if record.key)


def wait_sent(site: Site, number: int, table: str = "documents") -> None:
    def there() -> bool:
        site.agent.running().require_running()
        return number in sent(site, table)
    wait_until(f"row {number} of {table} is in Kafka (log: {site.agent.log})", there, 60, pause=0.3)


def streamed(site: Site, *ids: int) -> None:
    """The agent runs, and has sent these."""
    site.run("--only", "stream")
    insert(site, *ids)
    wait_sent(site, ids[-1])


def begun(site: Site, *arguments: str, program: Path | None = None, env: dict[str, str] | None = None) -> Process:
    """An `init` beside the test."""
    return Process("sluice init", [str(program or binary()), "init", *arguments, "-c", str(site.agent.config)], site.agent.folder / "init.log",
                   env={**site.agent.env, **(env or {})}).start()


def waits(site: Site) -> bool:
    return "waiting for 1 transactions that have written" in (site.agent.folder / "init.log").read_text()


def publication(site: Site) -> str:
    return f'"{site.agent.publication}"'


def slot_of(site: Site) -> tuple[Any, ...] | None:
    return site.connection.execute("select plugin, database, confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s",
                                   (site.agent.slot,)).fetchone()


def refused(site: Site, kind: str) -> str:
    site.agent.start("--only", "stream")
    code = site.agent.running().wait(60)
    log = site.agent.said()
    assert code == 3 and f"kind: {kind}" in log, f"exit {code}\n{log[-3000:]}"
    return log[log.rindex("kind: "):]


# The position that was judged is not written over one that was stored since

@pytest.mark.parametrize("runs_on", [pytest.param(False, id="stopped", marks=pytest.mark.seldom), pytest.param(True, id="running")])
def test_a_position_that_has_moved_while_init_waited_stays(little: Site, runs_on: bool) -> None:
    """An agent is started, and stopped again or not, while `init` waits for a transaction that writes to what it has added."""
    site = little
    site.agent.must("init")
    streamed(site, 1)
    assert site.agent.stop() == 0
    site.sql("create table public.late (id bigint primary key)", "alter table public.late owner to sluice")
    site.agent.settings = merge(site.agent.settings, {"postgres": {"tables": [*site.agent.settings["postgres"]["tables"], "public.late"]}})
    site.agent.write()
    # One number of partitions more to be noted in the position.
    late = site.agent.topic(("public", "late"))
    site.stack.kafka.create_topic(late, 5)
    with site.stack.postgres.connect(site.database, autocommit=False) as job:
        job.execute("insert into public.late values (1)")
        init = begun(site)
        wait_until("init waits", lambda: waits(site), 30)
        streamed(site, 2, 3)
        if not runs_on:
            assert site.agent.stop() == 0
        moved = progress(site)
        init.require_running()
        job.rollback()
    assert init.wait(30) == 0, init.tail()
    if not runs_on:
        assert progress(site)["partitions"][late] == 5, "noted by init, in what the agent has stored since"
        site.run("--only", "stream")
    insert(site, 4)
    site.sql("insert into public.late values (2)")
    wait_sent(site, 4)
    wait_sent(site, 2, "late")
    assert site.agent.stop() == 0
    stored = progress(site)
    assert parse_lsn(stored["lsn"]) >= parse_lsn(moved["lsn"]) and stored["partitions"][late] == 5, (stored, moved)
    lsns = [record.lsn for record in read_progress(site.stack.kafka.brokers, site.agent.name)]
    assert lsns == sorted(lsns), [hex(lsn) for lsn in lsns]
    streamed(site, 5)
    assert site.agent.stop() == 0
    assert sent(site) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1} and sent(site, "late") == {2: 1}
    assert progress(site)["epoch"] == 1 and "gaps" not in progress(site)


@pytest.mark.parametrize("creating", [False, True], ids=["nothing", "creating"])
def test_an_init_that_was_overtaken_changes_nothing(little: Site, creating: bool) -> None:
    """It has found no position, or one that another was making, and stands still before it fences."""
    site = little
    if creating:
        with site.stack.postgres.connect(site.database, autocommit=False) as job:
            job.execute("insert into public.unpublished values (1, 'open')")
            first = begun(site)
            wait_until("the slot is being made", lambda: "running transactions to end" in first.log.read_text(), 30)
            first.kill()
        assert progress(site)["state"] == "creating"
    second = begun(site, program=failpoints(), env={"SLUICE_FAILPOINT": "before-fence:1:stop"})
    wait_until("it stands still", lambda: open(f"/proc/{second.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", 30)
    site.agent.must("init")
    streamed(site, 1, 2)
    before, slot = progress(site), slot_of(site)
    second.send(signal.SIGCONT)
    assert second.wait(60) == 69, second.tail()
    assert "has gone on meanwhile" in second.tail() and "-> sluice init, again" in second.tail(), second.tail()
    insert(site, 3)
    wait_sent(site, 3)
    after = progress(site)
    assert slot and slot_of(site) and after["state"] == "streaming" and parse_lsn(after["lsn"]) >= parse_lsn(before["lsn"]), after
    assert "there is no gap" in site.agent.must("init").out
    assert site.agent.stop() == 0 and sent(site) == {1: 1, 2: 1, 3: 1}


# Slots of others

SLOTS = {
    "plugin": "select pg_create_logical_replication_slot('{slot}', 'test_decoding')",
    "physical": "select pg_create_physical_replication_slot('{slot}')",
    "two-phase": "select pg_create_logical_replication_slot('{slot}', 'pgoutput', false, true)",
}


@pytest.mark.parametrize("kind", SLOTS)
def test_a_slot_of_somebody_else_is_left_alone_where_there_is_no_position(little: Site, kind: str) -> None:
    site = little
    site.sql(SLOTS[kind].format(slot=site.agent.slot))
    before = slot_of(site)
    assert "sluice drop && sluice init (takes" in refused(site, "slot-foreign")
    for command in (["init"], ["init", "--accept-gap"], ["init", "--accept-gap", "--dry-run"]):
        done = site.agent.command(*command)
        assert done.code == 3 and "kind: slot-foreign" in done.err and "choose another postgres.slot" in done.err, done.text
    checked = site.agent.command("check")
    assert checked.code == 1 and f"slot {site.agent.slot} " in checked.text, checked.text
    assert slot_of(site) == before and not progress(site)
    assert not site.connection.execute("select 1 from pg_publication").fetchone(), "nothing is made before"
    # The way out.
    site.agent.must("drop")
    site.agent.must("init")
    streamed(site, 1)
    assert site.agent.stop() == 0


def test_a_slot_of_somebody_else_is_left_alone_where_init_was_cut_off(little: Site) -> None:
    site = little
    with site.stack.postgres.connect(site.database, autocommit=False) as job:
        job.execute("insert into public.unpublished values (1, 'open')")
        first = begun(site)
        wait_until("the slot is being made", lambda: "running transactions to end" in first.log.read_text(), 30)
        first.kill()
    wait_until("its slot is gone, or free", lambda: not site.connection.execute(
        "select 1 from pg_replication_slots where slot_name = %s and active", (site.agent.slot,)).fetchone(), 30)
    if slot_of(site):
        site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')")
    site.sql(SLOTS["plugin"].format(slot=site.agent.slot))
    before = slot_of(site)
    for command in (["init"], ["init", "--accept-gap"]):
        done = site.agent.command(*command)
        assert done.code == 3 and "kind: slot-foreign" in done.err and slot_of(site) == before, done.text


def test_a_slot_that_is_older_than_the_publication_is_made_again(little: Site) -> None:
    """What it holds was committed without a publication: that cannot be decoded, or is passed over (18 and later)."""
    site = little
    site.sql(f"select pg_create_logical_replication_slot('{site.agent.slot}', 'pgoutput')")
    insert(site, 1, 2)
    old = slot_of(site)
    plain = site.agent.command("init")
    assert plain.code == 3 and "kind: no-position" in plain.err and "makes the slot again" in plain.err, plain.text
    planned = site.agent.must("init", "--accept-gap", "--dry-run")
    assert f"pg_drop_replication_slot('{site.agent.slot}')" in planned.out, planned.text
    accepted = site.agent.must("init", "--accept-gap")
    assert "gap accepted: kind: no-position" in accepted.out and "its 2 existing rows will not be sent" in accepted.out, accepted.text
    new = slot_of(site)
    assert old and new and parse_lsn(new[2]) > parse_lsn(old[2]), (old, new)
    gap = progress(site)["gaps"][-1]
    assert gap["kind"] == "no-position" and gap["to"] == progress(site)["lsn"], gap
    streamed(site, 3)
    assert site.agent.stop() == 0 and sent(site) == {3: 1}


@pytest.mark.only("pg15")
def test_a_publication_that_is_younger_than_the_slot_is_3_and_what_is_named_leads_out(little: Site) -> None:
    """Made by hand, so that nobody knows before the first change is decoded."""
    site = little
    site.sql(f"select pg_create_logical_replication_slot('{site.agent.slot}', 'pgoutput')")
    insert(site, 1)
    site.sql(f"create publication {publication(site)} for table public.documents, public.positions with (publish_via_partition_root = true)",
             f"alter publication {publication(site)} owner to sluice")
    site.agent.must("init", "--accept-gap")
    assert "sluice drop, then sluice init --accept-gap" in refused(site, "publication-missing")
    site.agent.must("drop")
    site.agent.must("init", "--accept-gap")
    streamed(site, 2)
    assert site.agent.stop() == 0 and sent(site) == {2: 1}


# A loss that was accepted

@pytest.mark.parametrize("again", [False, True], ids=["run", "accepted-again"])
def test_a_loss_that_was_accepted_is_on_record_though_init_is_cut_off(little: Site, again: bool) -> None:
    site = little
    site.agent.must("init")
    streamed(site, 1)
    assert site.agent.stop() == 0
    before = progress(site)
    site.sql(f"alter publication {publication(site)} drop table public.documents")
    insert(site, 2)
    with site.stack.postgres.connect(site.database, autocommit=False) as job:
        job.execute("insert into public.documents values (3, 'open', null, null)")
        init = begun(site, "--accept-gap")
        wait_until("init waits", lambda: waits(site), 30)
        assert "gap accepted: kind: table-unpublished" in init.log.read_text()
        init.kill()
        job.commit()
    noted = progress(site)
    gap = noted["gaps"][-1]
    assert (gap["kind"], gap["from"], gap["to"], gap["epoch"]) == ("table-unpublished", before["lsn"], "0/0", 2), noted
    assert noted["state"] == "streaming" and noted["lsn"] == before["lsn"] and noted["epoch"] == 2, noted
    if again:
        site.sql(f"alter publication {publication(site)} drop table public.documents")
        assert "gap accepted: kind: table-unpublished" in site.agent.must("init", "--accept-gap").out
    streamed(site, 4)
    assert site.agent.stop() == 0
    after = progress(site)
    assert after["epoch"] == 2 and len(after["gaps"]) == 1 and parse_lsn(after["gaps"][0]["to"]) > parse_lsn(gap["from"]), after
    assert sent(site) == {1: 1, 4: 1}


# drop

def test_drop_leaves_the_publication_of_another_role(little: Site) -> None:
    site = little
    site.sql(f"create publication {publication(site)} for table public.documents, public.positions with (publish_via_partition_root = true)")
    site.agent.must("init")
    streamed(site, 1)
    shown = site.agent.must("drop", "--dry-run")
    assert f"pg_drop_replication_slot('{site.agent.slot}')" in shown.out and f"DROP PUBLICATION {publication(site)};" in shown.out, shown.text
    assert slot_of(site) and site.agent.http("/readyz")[0] == 200 and site.agent.stop() == 0
    for _ in range(2):
        done = site.agent.must("drop")
        assert f"is another role's, and stays until that one gives: DROP PUBLICATION {publication(site)};" in done.out, done.text
        assert not slot_of(site) and site.connection.execute("select 1 from pg_publication").fetchone()
    site.agent.must("init", "--accept-gap")
    streamed(site, 2)
    assert site.agent.stop() == 0 and sent(site) == {1: 1, 2: 1}


# What others have made of the server

def test_init_and_drop_beside_event_triggers_and_a_role_that_only_reads(little: Site) -> None:
    site = little
    site.sql(
        "create table public.ddl_audit (tag text)", "alter table public.ddl_audit owner to sluice",
        "create function public.audit() returns event_trigger language plpgsql as $$ begin insert into ddl_audit values (tg_tag); end $$",
        "create event trigger audit on ddl_command_end execute function public.audit()",
        f'alter role sluice in database "{site.database}" set default_transaction_read_only = on')
    site.agent.must("init")
    streamed(site, 1)
    assert site.agent.stop() == 0
    site.agent.must("drop")
    assert not slot_of(site) and not site.connection.execute("select 1 from pg_publication").fetchone()
    assert site.connection.execute("select tag from public.ddl_audit").fetchall() == [("CREATE PUBLICATION",), ("DROP PUBLICATION",)]
    # One that refuses is named by its function, and with the statement that it refused.
    site.sql("alter table public.ddl_audit add check (tag <> 'CREATE PUBLICATION') not valid")
    done = site.agent.command("init", "--accept-gap")
    assert done.code == 69 and f"CREATE PUBLICATION {publication(site)} FOR TABLE" in done.err, done.text
    assert "PL/pgSQL function audit() line 1" in done.err and "insert into" not in done.err, done.err


def test_ctrl_c_ends_an_init_that_waits_and_leaves_no_slot(little: Site) -> None:
    site = little
    with site.stack.postgres.connect(site.database, autocommit=False) as job:
        job.execute("insert into public.unpublished values (1, 'open')")
        init = begun(site)
        wait_until("init waits", lambda: "running transactions to end" in init.log.read_text(), 30)
        assert init.stop(signal.SIGINT) == 1, init.tail()
        assert "stopped before the end" in init.log.read_text(), init.tail()
        wait_until("the half-made slot is gone", lambda: not slot_of(site), 10)
        assert progress(site)["state"] == "creating"
        job.rollback()
    site.agent.must("init")
    streamed(site, 1)
    assert site.agent.stop() == 0 and sent(site) == {1: 1}


@pytest.mark.seldom
def test_ctrl_c_in_the_middle_of_the_history_is_no_gap(make: SiteMaker) -> None:
    """What was not read to its end says nothing of the server's WAL."""
    site = make({"postgres": {"replay_window": {"age": "1h"}}}, tables=DOCUMENTS).init().run("--only", "stream")
    site.sql("insert into public.unpublished select n, repeat('x', 100) from generate_series(1, 400000) n",
             "insert into public.documents values (1, 'x', null, null)")
    site.auditor.wait_kafka()
    assert site.agent.stop() == 0
    init = begun(site)
    reading = ("select pid from pg_stat_replication join pg_replication_slots on pid = active_pid"
               " where slot_name like '%\\_check' and state = 'catchup'")
    with site.stack.postgres.connect(site.database) as looks:
        def walsender() -> psutil.Process | None:
            row = looks.execute(reading).fetchone()
            return psutil.Process(row[0]) if row else None
        found = wait_until("it reads", walsender, 30, pause=0.002)
        time.sleep(0.05)  # its answer is on its way
        found.suspend()
        try:
            assert init.stop(signal.SIGINT) == 1, init.tail()
        finally:
            found.resume()
    assert "stopped before the end" in init.log.read_text(), init.tail()
    site.agent.must("init")
    assert site.agent.start("--only", "stream").wait_ready().stop() == 0


@pytest.mark.seldom
def test_init_says_whose_lock_it_waits_for(little: Site) -> None:
    """A vacuum's, or that of an index which is built beside writers."""
    site = little
    with site.stack.postgres.connect(site.database, autocommit=False) as job:
        job.execute("lock table public.documents in share update exclusive mode")
        told = f"it waits for ShareUpdateExclusiveLock on public.documents, behind pid {job.info.backend_pid}"
        init = begun(site)
        wait_until("init says so", lambda: told in init.log.read_text(), 20)
        assert init.wait(60) == 69, init.tail()
        job.rollback()
    text = init.log.read_text()
    assert "FOR TABLE" in text[text.rindex("postgres: CREATE PUBLICATION"):] and told in text[text.rindex("postgres: "):], text
    site.agent.must("init")


def test_a_stream_that_commits_would_wait_for_is_warned_of(server: ServerMaker) -> None:
    """And one that has the last walsender, which is no fault of it."""
    site, _ = server("synchronous_standby_names = '*'", "synchronous_commit = local", "max_wal_senders = 1")
    for command in ("init", "check"):
        done = site.agent.must(command)
        assert "warning synchronous_standby_names: * matches sluice." in done.out, done.text
    site.run("--only", "stream")
    checked = site.agent.must("check").out
    assert "warning max_wal_senders: all 1 are in use, one by the stream itself" in checked, checked
    assert "warning replication connection: not looked at while the slot is in use" in checked, checked
    assert site.agent.stop() == 0


# The server is short of slots

def test_where_no_slot_is_free_the_history_is_left_to_run(make: SiteMaker) -> None:
    site = make({"postgres": {"replay_window": {"age": "1h"}}}, tables=DOCUMENTS)
    site.agent.must("init")
    streamed(site, 1, 2)
    assert site.agent.stop() == 0
    at = confirmed(site.connection, site.agent.slot)
    assert at and at < parse_lsn(progress(site)["lsn"]), "else there is nothing to be compared"
    taken = []
    try:
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            while True:
                name = f"{site.agent.slot}_{len(taken)}"
                site.sql(f"select pg_create_physical_replication_slot('{name}')")
                taken.append(name)
        checked = site.agent.must("check")
        told = "was not compared with Kafka's: that needs a free slot"
        assert f"warning history: the server's {told}" in checked.out and "position: " in checked.out, checked.text
        again = site.agent.must("init")
        assert told in again.out and "there is no gap" in again.out, again.text
        streamed(site, 3)
        assert site.agent.stop() == 0
    finally:
        for name in taken:
            site.sql(f"select pg_drop_replication_slot('{name}')")
    assert "not compared" not in site.agent.must("check").text
