"""`sluice replay`: a stretch of the past again, in topics of another prefix, while the live stream goes on."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil
import pytest
from conftest import SiteMaker

from harness.agent import Agent, binary, confirmed
from harness.campaign.__main__ import failpoints
from harness.oracle.source import parse_lsn
from harness.oracle.topics import Partition, Position, _messages, partitions_of, read_progress
from harness.processes import Process, on_a_terminal, wait_until
from harness.site import Site

WINDOW = {"postgres": {"replay_window": {"age": "1h"}}}


@dataclass(frozen=True, slots=True)
class Sent:
    """A record as a consumer sees it, but for what a replay may change: when it was read, and that it is one."""

    key: bytes | None
    value: str | None
    headers: tuple[tuple[str, bytes | None], ...]
    position: Position
    replay: str | None


def read(site: Site, topics: list[str]) -> dict[Partition, list[Sent]]:
    brokers = site.stack.kafka.brokers
    found: dict[Partition, list[Sent]] = {
        (topic, number): [] for topic, count in partitions_of(brokers, topics).items() for number in range(count)}
    for message in _messages(brokers, topics, 30):
        headers = message.headers() or []
        named = {name: (value or b"").decode() for name, value in headers}
        value = message.value()
        if value is not None:
            # The envelope's own time says when the row was read, not when it was committed (that is source.ts_ms).
            fields = {name: field for name, field in json.loads(value).items() if name not in ("ts_ms", "ts_us", "ts_ns")}
            value = json.dumps(fields, ensure_ascii=False)
        found[(message.topic(), message.partition())].append(Sent(
            message.key(), value, tuple((n, v) for n, v in headers if n != "sluice.replay"),
            Position.parse(named["sluice.pos"]), named.get("sluice.replay")))
    return found


def topics(site: Site, prefix: str = "") -> list[str]:
    return [prefix + site.agent.topic(table) for table in site.tables]


def assert_same(site: Site, prefix: str, begin: int, end: int) -> int:
    """The replayed topics hold the live ones over `begin..<end`, record by record. How many that are."""
    live, again = read(site, topics(site)), read(site, topics(site, prefix))
    count = 0
    ids = set()
    for (topic, number), records in live.items():
        expected = [r for r in records if begin <= r.position.commit_lsn < end]
        replayed = again.pop((prefix + topic, number), [])
        ids |= {r.replay for r in replayed}
        assert len(replayed) == len(expected), f"{prefix}{topic}/{number}: {len(replayed)} records, not {len(expected)}"
        for at, (mine, theirs) in enumerate(zip(replayed, expected, strict=True)):
            assert (mine.key, mine.value, mine.headers) == (theirs.key, theirs.value, theirs.headers), f"{topic}/{number}, record {at}"
        count += len(expected)
    assert not any(again.values())
    assert len(ids) <= 1 and None not in ids, ids
    assert all(r.replay is None for records in live.values() for r in records)
    return count


def stored(site: Site) -> int:
    return read_progress(site.stack.kafka.brokers, site.agent.name)[-1].lsn


def text(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def settle(site: Site) -> int:
    """Waits until Kafka holds all that was committed; answers the position."""
    row = site.connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    site.sql("insert into public.documents values ((random() * 1e15)::bigint, 'the last one', null, now())")
    site.agent.wait_stored(parse_lsn(row[0]) + 1)
    return stored(site)


def insert_many(site: Site, transactions: int, rows: int) -> None:
    site.sql(f"""do $$ begin
        for t in 1..{transactions} loop
            insert into public.positions select n, 'b' || t, date '2026-01-01', n, true, null from generate_series(1, {rows}) n;
            commit;
        end loop; end $$""")


def at_failpoint(site: Site, point: str, *arguments: str) -> Process:
    """A command of the build that has failpoints."""
    program = failpoints()
    assert program is not None, "failpoints need the debug build: swift build --build-tests"
    return Process(f"sluice {arguments[0]}", [str(program), *arguments], site.agent.folder / f"{arguments[0]}-{point.replace(':', '-')}.log",
                   env={**site.agent.env, "SLUICE_FAILPOINT": point}).start()


def slots(site: Site) -> set[str]:
    return {row[0] for row in site.connection.execute("select slot_name from pg_replication_slots where slot_name like 'sluice_replay%%'")}


def test_a_replay_equals_the_live_topics_while_they_go_on(make: SiteMaker) -> None:
    site = make(WINDOW).init().run()
    begin = stored(site)
    with site.workload() as load:
        time.sleep(4)
        pid = site.agent.running().pid
        before = stored(site)
        first = site.agent.must("replay", "--from-lsn", text(begin), "--topic-prefix", "again.")
        match = re.search(r"from (\S+) to (\S+),", first.out)
        assert match and match[1] == text(begin), first.text
        end = parse_lsn(match[2])
        assert end >= before
        assert confirmed(site.connection, site.agent.slot) <= begin + 1, "the window holds the slot"
        time.sleep(2)
        assert stored(site) > end, "the live stream goes on"
    print(dict(load.counts), first.out)
    assert assert_same(site, "again.", begin, end) > 500

    # A stretch from the middle, by the positions that records name: transactions are whole, and their neighbours not there.
    live = read(site, topics(site))
    commits = sorted({r.position.commit_lsn for records in live.values() for r in records})
    x, y = commits[len(commits) // 3], commits[len(commits) // 2]
    site.agent.must("replay", "--from-lsn", text(x), "--to-lsn", text(y), "--topic-prefix", "part.")
    assert assert_same(site, "part.", x, y) > 0
    assert_same(site, "again.", begin, end)

    # The same command has nothing more to do; the topics have as many partitions as the live ones.
    again = site.agent.must("replay", "--from-lsn", text(x), "--to-lsn", text(y), "--topic-prefix", "part.")
    assert "complete" in again.out, again.text
    assert_same(site, "part.", x, y)
    counts = partitions_of(site.stack.kafka.brokers, topics(site) + topics(site, "part."))
    assert set(counts.values()) <= {3, 0}, counts

    # Nothing of it was seen by the live half: one process, no fence, no gap, every record once.
    assert site.agent.running().pid == pid
    assert site.agent.metrics()["sluice_producers_renewed_total"] == 0
    wait_until("the copies of the slot are gone", lambda: not slots(site), 20)
    verdict = site.auditor.verdict()
    assert verdict.clean, verdict.report()


def test_a_replay_killed_in_the_middle_goes_on(make: SiteMaker) -> None:
    site = make({**WINDOW, "kafka": {"transaction": {"rows": 1000}}}).init().run()
    begin = stored(site)
    insert_many(site, 300, 250)
    end = settle(site)
    arguments = ["replay", "--from-lsn", text(begin), "--to-lsn", text(end), "--topic-prefix", "killed.", "-c", str(site.agent.config)]
    # Of more than seventy commits.
    for point in ("after-commit:9:exit", "before-commit:12:exit", "after-produce:7777:exit"):
        process = at_failpoint(site, point, *arguments)
        assert process.wait(90) == -signal.SIGKILL, process.tail()
    done = site.agent.must("replay", "--from-lsn", text(begin), "--to-lsn", text(end), "--topic-prefix", "killed.")
    assert "goes on at" in done.out, done.text
    assert assert_same(site, "killed.", begin, end) == 75_001
    verdict = site.auditor.verdict()
    assert verdict.clean, verdict.report()


@pytest.mark.seldom
def test_ctrl_c_ends_a_replay_in_order(make: SiteMaker) -> None:
    site = make({**WINDOW, "kafka": {"transaction": {"rows": 1000}}}).init().run()
    begin = stored(site)
    insert_many(site, 600, 250)
    end = settle(site)
    arguments = ["replay", "--from-lsn", text(begin), "--to-lsn", text(end), "--topic-prefix", "stopped."]
    # Of more than a hundred commits; it goes on for Ctrl-C alone.
    process = at_failpoint(site, "after-commit:5:stop", *arguments, "-c", str(site.agent.config))
    wait_until("it has stopped at the point", lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 90)
    assert process.stop(signal.SIGINT) == 1, process.tail()
    assert 0 < sum(len(found) for found in read(site, topics(site, "stopped.")).values()) < 150_001, "it was over before it was stopped"
    again = site.agent.must(*arguments)
    assert "goes on at" in again.out, again.text
    assert assert_same(site, "stopped.", begin, end) == 150_001


def test_a_replay_that_was_begun_before_a_gap_is_3(make: SiteMaker) -> None:
    """Its range means WAL of another time; under another prefix, what is there now can be had."""
    site = make(WINDOW).init().run("--only", "stream")
    begin = stored(site)
    site.sql("insert into public.documents values (1, 'x', null, now())")
    end = settle(site)
    arguments = ["replay", "--from-lsn", text(begin), "--to-lsn", text(end), "--topic-prefix", "old."]
    site.agent.must(*arguments)
    assert site.agent.stop() == 0
    site.sql(f"select pg_drop_replication_slot('{site.agent.slot}')")
    site.agent.must("init", "--accept-gap")
    done = site.agent.command(*arguments)
    assert done.code == 3 and "was begun before a gap" in done.err and "epoch then: 1, now: 2" in done.err, done.text
    assert "-> choose another --topic-prefix, and a range of now" in done.err, done.text
    site.run("--only", "stream")
    begin = stored(site)
    end = settle(site)
    site.agent.must("replay", "--from-lsn", text(begin), "--to-lsn", text(end), "--topic-prefix", "new.")
    assert assert_same(site, "new.", begin, end) == 1
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_a_replay_from_before_a_gap_has_the_positions_of_then(make: SiteMaker) -> None:
    """Where the stream went on where it was: the slot still has what is in Kafka in the epoch before."""
    site = make(WINDOW).init().run("--only", "stream")
    begin = stored(site)
    site.sql("insert into public.documents values (1, 'x', null, now())", "select pg_logical_emit_message(false, 'p', 'x')")
    settle(site)
    assert site.agent.stop() == 0
    for change in ("drop", "add"):
        site.sql(f"alter publication {site.agent.slot} {change} table public.positions")
    accepted = site.agent.must("init", "--accept-gap")
    assert "existing rows" not in accepted.out and "what Kafka has stays" in accepted.out, accepted.text
    site.run("--only", "stream")
    site.sql("insert into public.documents values (2, 'x', null, now())")
    end = settle(site)
    site.agent.must("replay", "--from-lsn", text(begin), "--topic-prefix", "again.")
    assert assert_same(site, "again.", begin, end) == 4
    epochs = {record.position.epoch for found in read(site, topics(site, "again.")).values() for record in found}
    assert epochs == {1, 2}, epochs
    assert site.agent.stop() == 0


def refused(agent: Agent, *arguments: str) -> tuple[int, int, str]:
    """Exit 3, and the range that can be had."""
    done = agent.command("replay", *arguments, "--topic-prefix", "no.")
    assert done.code == 3, done.text
    match = re.search(r"can be had: from (\S+) .*to (\S+)", done.err)
    assert match and "outside-replay-window" in done.err, done.err
    return parse_lsn(match[1]), parse_lsn(match[2]), done.err


@pytest.mark.seldom
def test_outside_the_window_the_range_is_named(make: SiteMaker) -> None:
    site = make({"postgres": {"replay_window": {"age": "3s"}}}).init().run()
    begin = stored(site)
    numbers = itertools.count()

    def write() -> int:
        site.sql(f"insert into public.documents values ({next(numbers)}, 'x', null, now())")
        row = site.connection.execute("select pg_current_wal_lsn()::text").fetchone()
        assert row is not None
        return parse_lsn(row[0])
    first = write()
    wait_until("the window moves on", lambda: write() and (confirmed(site.connection, site.agent.slot) or 0) > first, 60, pause=0.7)
    at = confirmed(site.connection, site.agent.slot)
    assert at is not None and begin < at < stored(site), "and stays behind"
    # The stored position moves on with the server's own WAL, also without a row.
    before = stored(site)
    low, high, message = refused(site.agent, "--from-lsn", text(begin))
    assert begin < low and before <= high <= stored(site) and "commits after 20" in message
    refused(site.agent, "--from-time", "2026-01-01T00:00:00Z")
    refused(site.agent, "--from-lsn", text(stored(site) + 100_000_000))
    refused(site.agent, "--from-lsn", text(low), "--to-lsn", text(stored(site) + 100_000_000))
    assert not any(partitions_of(site.stack.kafka.brokers, topics(site, "no.")).values())
    # What it names can be had: of an agent that is off, for a window of seconds moves on while the command starts.
    assert site.agent.stop() == 0
    low, _, _ = refused(site.agent, "--from-lsn", text(begin))
    site.agent.must("replay", "--from-lsn", text(low), "--topic-prefix", "yes.")


def test_without_a_window_nothing_is_held(make: SiteMaker) -> None:
    site = make().init().run()
    begin = stored(site)
    site.sql("insert into public.documents values (1, 'x', null, now())")
    end = settle(site)
    wait_until("all is confirmed", lambda: (confirmed(site.connection, site.agent.slot) or 0) >= end, 30)
    low, high, _ = refused(site.agent, "--from-lsn", text(begin))
    assert end <= low <= high <= stored(site)
    for begins in (datetime.now(UTC).isoformat(), "2999-01-01T00:00:00Z"):
        assert "and the replay window holds no commit" in refused(site.agent, "--from-time", begins)[2]
    # Nor is there a gap to be seen while slot and position move.
    with site.workload(large_every=0):
        for _ in range(3):
            refused(site.agent, "--from-lsn", text(begin))


@pytest.mark.seldom
def test_a_window_of_bytes(make: SiteMaker) -> None:
    site = make({"postgres": {"replay_window": {"bytes": "1MiB"}}}).init().run()
    insert_many(site, 40, 1000)
    settle(site)
    held = 1 << 20
    wait_until("the slot stands 1 MiB behind",
               lambda: stored(site) - (confirmed(site.connection, site.agent.slot) or 0) == held, 30, pause=0.5)
    before = stored(site)
    low, high, _ = refused(site.agent, "--from-lsn", text(before - 2 * held))
    assert before - held <= low <= stored(site) - held and before <= high <= stored(site)
    # A restart changes nothing, and confirms nothing more; nor does the end hold up the server.
    assert site.agent.stop() == 0
    assert stored(site) - (confirmed(site.connection, site.agent.slot) or 0) == held
    site.run()
    insert_many_more = stored(site)
    site.sql("insert into public.documents values (77, 'x', null, now())")
    site.agent.wait_stored(insert_many_more + 1)
    began = time.monotonic()
    site.stack.postgres.stop("fast", timeout=25)
    took = time.monotonic() - began
    site.stack.postgres.start()
    site.reconnect()
    assert took < 4, f"pg_ctl stop -m fast took {took:.0f} s"
    verdict = site.auditor.verdict()
    assert verdict.clean, verdict.report()


@pytest.mark.seldom
def test_the_window_goes_on_over_restarts(make: SiteMaker) -> None:
    """An agent that is restarted more often than the window is long must release WAL all the same."""
    site = make({"postgres": {"replay_window": {"age": "6s"}}}).init()
    begin = stored(site)
    for n in range(5):
        site.run()
        site.sql(f"insert into public.documents values ({n}, 'x', null, now())")
        time.sleep(2.5)
        assert site.agent.stop() == 0
    at = confirmed(site.connection, site.agent.slot)
    assert at is not None and begin < at < stored(site)
    site.run()
    status = site.agent.status()["source"]
    assert parse_lsn(status["replay_lsn"]) >= at and status["replay_time"].startswith("20")
    assert site.agent.metrics()["sluice_replay_window_seconds"] > 4


def test_by_time(make: SiteMaker) -> None:
    site = make(WINDOW).init().run()
    begin = stored(site)
    times = []
    for n in range(4):
        times.append(datetime.now(UTC))
        time.sleep(0.3)
        site.sql(f"insert into public.documents values ({n}, 'x', null, now())",
                 f"insert into public.positions values ({n}, 'b', date '2026-01-01', 1, true, null)")
        time.sleep(0.3)
    end = settle(site)
    live = read(site, [site.agent.topic(("public", "documents"))])
    commits = sorted(r.position.commit_lsn for records in live.values() for r in records)
    site.agent.must("replay", "--from-time", times[1].isoformat(), "--to-time", times[3].isoformat(), "--topic-prefix", "t.")
    assert assert_same(site, "t.", commits[1], commits[3]) == 4
    site.agent.must("replay", "--from-time", times[2].isoformat().replace("+00:00", "Z"), "--topic-prefix", "open.")
    assert assert_same(site, "open.", commits[2], end) == 5
    nothing = site.agent.must("replay", "--from-time", datetime.now(UTC).isoformat(), "--topic-prefix", "none.")
    assert "nothing was committed" in nothing.out, nothing.text
    assert begin < commits[0]


def test_dry_run_counts_and_produces_nothing(make: SiteMaker) -> None:
    site = make(WINDOW).init().run()
    begin = stored(site)
    site.sql("insert into public.documents select n, 'x', null, now() from generate_series(1, 20) n",
             "update public.documents set title = 'y' where id <= 5", "delete from public.documents where id = 1",
             "insert into public.positions values (1, 'b', date '2026-01-01', 1, true, null)",
             "select pg_logical_emit_message(false, 'p', 'outside'), pg_logical_emit_message(true, 'p', 'inside')")
    settle(site)
    before = site.stack.kafka.topics()
    done = site.agent.must("replay", "--from-lsn", text(begin), "--topic-prefix", "dry.", "--dry-run")
    assert site.stack.kafka.topics() == before
    documents = site.agent.topic(("public", "documents"))
    assert f"public.documents -> dry.{documents}: 27 rows (21 inserts, 5 updates, 1 deletes, 0 truncates)" in done.out, done.text
    assert "public.positions -> dry." in done.out and "28 rows" in done.out and "2 logical messages" in done.out, done.text
    assert "first transaction: " in done.out


def test_a_prefix_that_meets_live_topics_is_refused(make: SiteMaker) -> None:
    site = make({"kafka": {"topic": "{table}.cdc"}, "postgres": {"tables": ["public.*_gold"], "replay_window": {"age": "1h"}}},
                tables=[("public", "dadostesouroipca_gold"), ("public", "dadostesouropre_gold")]).init()
    done = site.agent.command("replay", "--from-lsn", text(stored(site)), "--topic-prefix", "again.")
    assert done.code == 64 and "the sink would take it" in done.err, done.text


def test_a_bar_on_a_terminal_and_lines_in_a_pipe(make: SiteMaker) -> None:
    site = make(WINDOW).init().run()
    begin = stored(site)
    insert_many(site, 20, 100)
    settle(site)
    arguments = [str(binary()), "replay", "--from-lsn", text(begin), "-c", str(site.agent.config), "--topic-prefix"]
    pipe = site.agent.must("replay", "--from-lsn", text(begin), "--topic-prefix", "pipe.")
    assert "\r" not in pipe.out and "\x1b" not in pipe.out and "complete" in pipe.out
    shown = on_a_terminal([*arguments, "tty."], {**os.environ, **site.agent.env})
    assert b"\r\x1b[2K[" in shown and b"100 %" in shown and b"rows/s" not in shown.split(b"\n")[0], shown


@pytest.mark.parametrize("sink", [False, True], ids=["stream", "both"])
def test_the_agent_may_be_off(make: SiteMaker, sink: bool) -> None:
    """A replay needs the slot and the position, not the agent."""
    site = make(WINDOW).init().run(*([] if sink else ["--only", "stream"]))
    begin = stored(site)
    site.sql("insert into public.documents values (1, 'x', null, now())")
    end = settle(site)
    assert site.agent.stop() == 0
    site.agent.must("replay", "--from-lsn", text(begin), "--topic-prefix", "off.")
    assert assert_same(site, "off.", begin, max(end, stored(site))) == 2
    wait_until("the copy of the slot is gone", lambda: not slots(site), 20)
