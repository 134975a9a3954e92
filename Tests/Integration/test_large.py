"""Large transactions and large rows (C2, C7): split and killed, rolled back in parts, too large, and in bounded memory."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import threading
import time

import pytest
from conftest import SiteMaker

from harness.agent import Agent, binary
from harness.campaign.__main__ import die_at, wait_dead
from harness.oracle.topics import read_progress, read_topics
from harness.processes import peak_memory, wait_until
from harness.site import Site

KILLS = 10
MIB = 1 << 20


def peak_of(agent: Agent, *arguments: str) -> tuple[int, str, int]:
    """Runs a command: its exit code, its output, and the most that was resident, looked at until it ends."""
    with (agent.folder / "command.log").open("w+") as output:
        # Not its rusage: that begins with what this process has.
        process = subprocess.Popen([str(binary()), *arguments, "-c", str(agent.config)], env={**os.environ, **agent.env}, stdout=output,
                                   stderr=subprocess.STDOUT)
        peak = 0
        while process.poll() is None:
            with contextlib.suppress(LookupError):  # it has just ended
                peak = max(peak, peak_memory(process.pid))
            time.sleep(0.01)
        output.seek(0)
        return process.returncode, output.read(), peak


def position(site: Site) -> dict[str, object]:
    return json.loads(read_progress(site.stack.kafka.brokers, site.agent.name)[-1].raw)


def splits(site: Site) -> int:
    return site.agent.log.read_text().count("split a transaction") if site.agent.log.exists() else 0


def written(site: Site) -> int:
    """Where the WAL of what was committed ends."""
    row = site.connection.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    site.sql("insert into public.unpublished values (1, 'x') on conflict (id) do update set v = 'y'")
    return int(row[0])


def test_killed_ten_times_in_the_middle_of_a_split_transaction(make: SiteMaker) -> None:
    site = make({"kafka": {"transaction": {"rows": 1000}, "split": {"rows": 5000}}}).init()
    with site.connection.transaction():
        site.sql("insert into public.documents values (1, 'first', null, null)",
                 "insert into public.positions select 7, 'bond ' || n, '2026-01-01', n, true, null from generate_series(1, 150000) n",
                 "insert into public.documents values (2, 'last', null, null)")
    site.sql("insert into public.documents values (3, 'after', null, null)")
    moments = random.Random(seed := random.SystemRandom().randrange(1 << 30))
    print(f"moments: seed {seed}")
    before = 0
    for _ in range(KILLS):
        # Each takes one or two parts of more than twenty-five: of five thousand changes, and up to the next chunk's end.
        point, parts = moments.choice(["after-commit", "before-commit", "after-position", "before-produce"]), moments.randint(1, 2)
        count = {"after-commit": parts, "before-produce": 5500 * parts + moments.randint(500, 3000)}.get(point, parts + 1)
        wait_dead(die_at(point, count, site.agent, "--only", "stream"))
        ordinal = int(str(position(site)["ordinal"]))
        print(f"died at {point}:{count}, Kafka has {ordinal} changes")
        assert ordinal >= before + 5000, "a restart goes on in the middle"
        before = ordinal
    site.run("--only", "stream")
    verdict = site.auditor.verdict(objects=False)
    print(verdict.line())
    assert verdict.clean and verdict.changes == 150_003, verdict.report()
    records = [record for found in read_topics(site.stack.kafka.brokers, site.auditor.topics).values() for record in found]
    assert len({record.split for record in records}) > 10, "parts are marked"
    assert site.agent.stop() == 0


@pytest.mark.parametrize(("rows", "bounds"), [
    (20_000, {"transaction": {"bytes": "256KiB"}, "split": {"bytes": "1MiB"}}), (60_000, {"split": {"age": "50ms"}})], ids=["bytes", "age"])
def test_a_transaction_is_split_past_its_bytes_and_its_age(make: SiteMaker, rows: int, bounds: dict[str, dict[str, str]]) -> None:
    site = make({"kafka": {**bounds, "partitions": 1}}, tables=[("public", "positions")])
    site.agent.must("init")
    site.sql(f"insert into public.positions select 7, 'bond ' || n, '2026-01-01', n, true, null from generate_series(1, {rows}) n")
    site.run("--only", "stream")
    site.agent.wait_stored(written(site))
    [records] = read_topics(site.stack.kafka.brokers, [site.agent.topic(("public", "positions"))]).values()
    assert len(records) == rows == len({record.key for record in records})
    parts: dict[str, int] = {}
    for record in records:
        parts[record.split or "1"] = parts.get(record.split or "1", 0) + len(record.key or b"") + len(record.value or b"")
    assert sorted(parts, key=int) == [str(part) for part in range(1, splits(site) + 2)], parts
    if "bytes" in bounds["split"]:
        *full, _ = (parts[part] for part in sorted(parts, key=int))
        assert len(full) >= 5 and all(MIB * 3 // 4 <= size <= MIB * 5 // 4 for size in full), full
    else:
        assert len(parts) >= 3, parts
    assert site.agent.stop() == 0


def test_a_batch_is_closed_at_its_rows_and_not_before_its_interval(make: SiteMaker) -> None:
    site = make(tables=[("public", "documents")]).init()

    def commits() -> float:
        return site.agent.metrics()["sluice_kafka_transactions_total"]
    # A backlog of a thousand transactions: in batches of a hundred, or as one, whose rows are far from their bound.
    for bounds, least, most in (({"rows": 100}, 10, 14), ({"interval": "2s"}, 1, 3)):
        site.agent.settings["kafka"]["transaction"] = bounds
        site.agent.write()
        site.sql("do $$ begin for i in 1..1000 loop insert into public.documents select count(*), 'x', null, null from public.documents; commit;"
                 " end loop; end $$")
        site.run("--only", "stream")
        site.auditor.wait_kafka()
        assert least <= commits() <= most, f"{bounds}: {commits():.0f} Kafka transactions"
        if "rows" in bounds:
            assert site.agent.stop() == 0
    before, began = commits(), time.monotonic()
    for number in range(50):
        site.sql(f"insert into public.documents values ({number + 10_000}, 'x', null, null)")
        time.sleep(0.05)
    site.auditor.wait_kafka()
    assert commits() - before <= (time.monotonic() - began) / 2 + 2, "one in two seconds"
    verdict = site.auditor.verdict(objects=False)
    assert verdict.clean and verdict.changes == 2050, verdict.report()
    assert site.agent.stop() == 0


def test_options_that_change_in_the_middle_of_a_split_transaction_are_3(make: SiteMaker) -> None:
    """Its changes could not be counted again. Put back as they were, it goes on."""
    site = make({"kafka": {"transaction": {"rows": 1000}, "split": {"rows": 2000}}}, tables=[("public", "positions")])
    site.agent.must("init")
    site.sql("insert into public.positions select 7, 'bond ' || n, '2026-01-01', n, true, null from generate_series(1, 60000) n",
             "create publication other for table public.positions with (publish_via_partition_root = true)")
    wait_dead(die_at("after-commit", 2, site.agent, "--only", "stream"))
    before = position(site)
    assert int(str(before["ordinal"])) > 0
    changed = site.twin("changed", {"postgres": {"publication": "other"}})
    for command in (["run", "--only", "stream"], ["init"]):
        refused = changed.command(*command)
        for text in ("kind: options-changed", f"({before['ordinal']} changes)", "stored position: ", "-> restore the publication as it was",
                     "-> sluice init --accept-gap"):
            assert refused.code == 3 and text in refused.err, refused.text
    assert position(site) == before
    site.run("--only", "stream")
    wait_until("the transaction is whole", lambda: site.agent.running().require_running() or position(site)["ordinal"] == 0, 60, pause=0.2)
    assert site.agent.stop() == 0
    verified = site.agent.must("verify")
    assert "60000 rows, 60000 changes: equal" in verified.out, verified.text


def test_savepoints_rolled_back_and_100000_subtransactions(make: SiteMaker) -> None:
    site = make().init().run("--only", "stream")
    site.sql("""
        do $$ begin
          for i in 1..100000 loop
            begin
              insert into public.documents values (i, 'sub', null, null);
              if i % 3 = 0 then raise exception 'rolled back'; end if;
            exception when raise_exception then null;
            end;
          end loop;
        end $$""")
    with site.connection.transaction():
        site.sql("insert into public.documents values (200001, 'kept', null, null)", "savepoint a",
                 "insert into public.documents select n, 'dropped', null, null from generate_series(300000, 309999) n", "savepoint b",
                 "update public.documents set title = 'dropped' where id < 100", "rollback to savepoint a",
                 "insert into public.documents values (200002, 'kept too', null, null)", "release savepoint a")
    verdict = site.auditor.verdict(objects=False)
    peak = peak_memory(site.agent.running().pid)
    print(verdict.line(), f"peak memory {peak >> 20} MiB")
    assert verdict.clean and verdict.changes == 66_667 + 2, verdict.report()
    assert peak < 64 * MIB
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_large_transactions_that_interleave(make: SiteMaker) -> None:
    site = make().init().run("--only", "stream")

    def write(account: int) -> None:
        with site.stack.postgres.connect(site.database) as own, own.transaction():
            for part in range(10):
                own.execute(f"insert into public.positions select {account}, 'bond ' || n, '2026-01-01', n, true, null"  # type: ignore[arg-type]
                            f" from generate_series({part * 2000}, {part * 2000 + 1999}) n")
                time.sleep(0.02)
    writers = [threading.Thread(target=write, args=(account,)) for account in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    verdict = site.auditor.verdict(objects=False)
    print(verdict.line())
    assert verdict.clean and verdict.changes == 120_000, verdict.report()
    assert site.agent.stop() == 0


def set_limit(site: Site, size: int) -> None:
    site.stack.kafka.set_topic(site.agent.topic(("public", "documents")), "max.message.bytes", str(size))


def text_of(size: int) -> str:
    """SQL for a text that does not compress away."""
    return f"(select string_agg(md5(n::text), '') from generate_series(1, {size // 32}) n)"


def test_a_row_of_8_mb_where_the_topic_takes_it(make: SiteMaker) -> None:
    site = make().init()
    set_limit(site, 40 * MIB)
    site.run()
    # Larger than what the agent takes by default, too.
    site.sql(f"insert into public.documents values (1, 'small', 'x', now()), (2, 'large', {text_of(8 * MIB)}, now())",
             f"insert into public.documents values (3, 'larger', {text_of(30 * MIB)}, now())",
             "update public.documents set title = 'large still' where id = 2", "delete from public.documents where id = 2")
    verdict = site.auditor.verdict()
    peak = peak_memory(site.agent.running().pid)
    print(verdict.line(), f"peak memory {peak >> 20} MiB")
    assert verdict.clean and verdict.changes == 5, verdict.report()
    assert peak < 96 * MIB + 4 * 30 * MIB
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_a_message_as_large_as_its_topic_takes(make: SiteMaker) -> None:
    """Nobody foresees the topic of logical messages: it is met with the first of them."""
    site = make({"limits": {"memory": "24MiB"}}).init()
    topic = f"{site.agent.name}.message"
    site.stack.kafka.create_topic(topic, 3, max_message_bytes=str(20 * MIB))
    site.run()
    site.sql("insert into public.documents values (1, 'a', null, null)",
             f"select pg_logical_emit_message(true, 'p', {text_of(9 * MIB)})", "insert into public.documents values (2, 'b', null, null)")
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes == 3, verdict.report()
    [message] = [record for found in read_topics(site.stack.kafka.brokers, [topic]).values() for record in found]
    assert len(message.value or b"") > 12 * MIB
    assert site.agent.stop() == 0
    # One that is larger, and outside transactions: what was committed before it goes first, and it stops each start.
    site.sql("insert into public.documents values (3, 'c', null, null)", f"select pg_logical_emit_message(false, 'p', {text_of(24 * MIB)})")
    documents = site.agent.topic(("public", "documents"))
    for _ in range(2):
        assert site.agent.start().running().wait(60) == 5
        assert sum(map(len, read_topics(site.stack.kafka.brokers, [documents]).values())) == 3


@pytest.mark.seldom
def test_rows_of_8_mb_among_small_ones_from_several_connections(make: SiteMaker) -> None:
    """A row larger than the buffers, whose chunk another transaction's commit falls into, waits for nothing; in bounded memory."""
    site = make().init()
    set_limit(site, 20 * MIB)
    site.run()

    def write(worker: int) -> None:
        with site.stack.postgres.connect(site.database) as own:
            for n in range(8):
                row = worker * 100 + n
                for statement in (
                        f"insert into public.documents values ({row}, 'large', {text_of((8, 5, 1, 8)[(n + worker) % 4] * MIB)}, now())",
                        f"insert into public.documents select {row * 1000 + 10000} + n, 'small', 'x', now() from generate_series(1, 500) n",
                        f"update public.documents set title = 'large still' where id = {row}"):
                    own.execute(statement)  # type: ignore[arg-type]
    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    verdict = site.auditor.verdict()
    peak = peak_memory(site.agent.running().pid)
    print(verdict.line(), f"peak memory {peak >> 20} MiB")
    assert verdict.clean and verdict.changes == 3 * 8 * 502, verdict.report()
    assert splits(site) == 0, "nothing had to wait for split.age"
    assert peak < 96 * MIB + 4 * 8 * MIB
    assert site.agent.stop() == 0


@pytest.mark.parametrize("size", [100, pytest.param(500, marks=pytest.mark.long)])
def test_a_row_that_no_topic_takes_is_5_named_and_in_bounded_memory(make: SiteMaker, size: int) -> None:
    site = make().init().run("--only", "stream")
    site.sql("insert into public.documents values (1, 'small', 'x', now())")
    site.auditor.wait_kafka()
    peak = [0]

    def watch() -> None:
        while site.agent.running().running:
            try:
                peak[0] = max(peak[0], peak_memory(site.agent.running().pid))
            except (OSError, LookupError, RuntimeError):
                return
            time.sleep(0.02)
    watcher = threading.Thread(target=watch)
    watcher.start()
    with site.connection.transaction():
        site.sql("insert into public.documents values (2, 'of the same transaction', 'x', now())",
                 f"insert into public.documents values (3, 'huge', {text_of(size * MIB)}, now())")
    code = site.agent.running().wait(120)
    watcher.join()
    log = site.agent.log.read_text()
    print(f"peak memory {peak[0] >> 20} MiB")
    assert code == 5, f"exit {code}\n{log[-2000:]}"
    last = log[-2000:]
    assert "public.documents" in last and '{"id":3}' in last and "max.message.bytes" in last and "position: " in last, last
    assert peak[0] < 64 * MIB + 4 * size * MIB
    shown = [record for found in read_topics(site.stack.kafka.brokers, site.auditor.topics).values() for record in found]
    assert len(shown) == 1, "nothing of its transaction is visible"
    # With the limit that it names raised it is larger than a request may be, on which a broker closes the connection without a word.
    if size <= 100:
        set_limit(site, 4 * size * MIB)
        assert site.agent.start("--only", "stream").running().wait(60) == 5
        assert "socket.request.max.bytes" in site.agent.said(), site.agent.said()[-2000:]


@pytest.mark.parametrize("rows", [2_000_000, pytest.param(20_000_000, marks=pytest.mark.long)])
def test_memory_does_not_depend_on_the_size_of_a_transaction(make: SiteMaker, rows: int) -> None:
    site = make()
    site.agent.must("init")
    site.run("--only", "stream")
    began = time.monotonic()
    site.sql(f"insert into public.positions select 7, 'bond ' || n, '2026-01-01', n, true, null from generate_series(1, {rows}) n")
    written = time.monotonic()
    row = site.connection.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None

    def done() -> bool:
        site.agent.running().require_running()
        return sum(value for name, value in site.agent.metrics().items() if name.startswith("sluice_rows_total")) >= rows
    wait_until("all rows are in Kafka", done, 240 + rows / 20_000, pause=0.5)
    peak = peak_memory(site.agent.running().pid)
    print(f"{rows:,} rows in one transaction: written in {written - began:.1f} s, in Kafka {time.monotonic() - written:.1f} s later,"
          f" peak memory {peak / MIB:.1f} MiB")
    assert position(site)["ordinal"] == 0
    assert peak < 64 * MIB
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_verify_compares_a_table_that_is_larger_than_its_memory(make: SiteMaker) -> None:
    """Half of the table changes while the sink is off, so that what it has not put is read from the topic."""
    rows = 60_000
    site = make({"kafka": {"partitions": 3}, "s3": {"rotate": {"age": "1s"}}}).init().run()
    site.sql(f"insert into public.documents select n, 'd', repeat(md5(n::text), 40), null from generate_series(1, {rows}) n")
    site.auditor.wait_kafka()
    site.auditor.wait_objects(read_topics(site.stack.kafka.brokers, site.auditor.topics))
    assert site.agent.stop() == 0
    site.run("--only", "stream")
    site.sql("update public.documents set title = 'e' where id % 2 = 0", "delete from public.documents where id % 10 = 0")
    site.auditor.wait_kafka()
    code, output, peak = peak_of(site.agent, "verify", "--table", "public.documents", "--json")
    print(f"{output.strip()}: {peak / MIB:.0f} MiB")
    assert code == 0, output
    kafka, s3 = json.loads(output)["comparisons"]
    assert kafka["rows"] == s3["rows"] == rows * 9 // 10 and kafka["changes"] == rows * 8 // 5 and s3["changes"] == rows
    assert peak < 100 * MIB, f"{rows * 1280 // MIB} MiB of rows, held twice beside the table"
    little = site.twin("little", {"limits": {"spool": "16MiB"}}).command("verify", "--table", "public.documents")
    assert little.code == 69 and "do not fit on the disk" in little.err and "-> raise limits.spool, or compare a table at a time" in little.err, little.text
    assert site.agent.stop() == 0
