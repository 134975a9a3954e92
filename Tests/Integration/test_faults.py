"""Kills, under write load. After each: PostgreSQL's own word against what Kafka and S3 show."""

from __future__ import annotations

import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from confluent_kafka import Producer
from conftest import SiteMaker

from harness.agent import Agent, confirmed, merge
from harness.campaign.__main__ import parse_stack
from harness.campaign.proxy import ClientFront
from harness.campaign.world import Choice, World
from harness.oracle.topics import read_progress, read_topics
from harness.oracle.verdict import Verdict
from harness.processes import Lab, free_port, peak_memory, wait_until
from harness.site import Site, Stack

KILLS = 10


def assert_exact(site: Site, verdict: Verdict) -> None:
    print(verdict.line())
    assert verdict.clean, verdict.report()
    assert verdict.changes > 100, "the load wrote next to nothing"
    assert verdict.kafka_transactions is not None, "borders were not checked"


def assert_confirmed_is_stored(site: Site) -> None:
    """C4, with the agent dead or stopped: what the slot may forget is in Kafka."""
    mark = confirmed(site.connection, site.agent.slot)
    stored = read_progress(site.stack.kafka.brokers, site.agent.name)
    assert mark is not None and stored and mark <= stored[-1].lsn, f"confirmed {mark:X}, stored {stored[-1].lsn if stored else 0:X}"


def objects_of(sink: Agent) -> float:
    sink.running().require_running()
    return sum(value for name, value in sink.metrics().items() if name.startswith("sluice_objects_total"))


def failures(site: Site, component: str) -> float:
    return sum(value for name, value in site.agent.metrics().items() if name.startswith("sluice_errors_total") and f'component="{component}"' in name)


@pytest.fixture(scope="module")
def world(stack: Stack, lab: Lab) -> Iterator[World]:
    """Servers of their own, behind fronts: the broker's knows one request from the next."""
    version, client = parse_stack(stack.name)
    made = World(Choice(version, client, 1), lab, f"{stack.name}-fronts", clients=ClientFront)
    yield made
    made.close()


@pytest.fixture
def fronted(world: World) -> Iterator[SiteMaker]:
    """`fronted(changes)`: as `make`, behind the world's fronts."""
    world.heal()  # of what a failed test has left
    sites: list[Site] = []

    def maker(changes: dict[str, Any] | None = None) -> Site:
        sites.append(world.site(changes or {}))
        return sites[-1]
    yield maker
    world.heal()
    for site in sites:
        site.close()


def broker_front(world: World) -> ClientFront:
    front = world.kafka_fronts[0]
    assert isinstance(front, ClientFront)
    return front


def test_agent_killed_ten_times(make: SiteMaker) -> None:
    site = make().init().run()
    moments = random.Random(seed := random.SystemRandom().randrange(1 << 30))
    print(f"moments: seed {seed}")
    with site.workload():
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.1, 2.0))
            site.agent.kill()
            assert_confirmed_is_stored(site)
            site.auditor.glance()
            site.agent.start()
            if moments.random() < 0.7:  # else it may be killed while it starts
                site.agent.wait_ready()
    site.agent.wait_ready()
    assert_exact(site, site.auditor.verdict())
    assert site.agent.stop() == 0


def test_sink_killed_ten_times(make: SiteMaker) -> None:
    site = make().init()
    sink = site.twin("sink")
    site.run("--only", "stream")
    sink.start("--only", "sink").wait_ready()
    moments = random.Random(seed := random.SystemRandom().randrange(1 << 30))
    print(f"moments: seed {seed}")
    with site.workload():
        for _ in range(KILLS):
            # Long enough that some kills meet it between a PUT and the commit of its offset, some while it joins.
            time.sleep(moments.uniform(0.1, 6.0))
            sink.kill()
            site.auditor.glance()
            sink.start("--only", "sink")
    sink.wait_ready()
    assert_exact(site, site.auditor.verdict())
    assert sink.stop() == 0 and site.agent.stop() == 0


def test_two_sinks_share_and_one_is_killed(make: SiteMaker) -> None:
    site = make().init().run("--only", "stream")
    sinks = [site.twin("sink-1"), site.twin("sink-2")]
    for sink in sinks:
        sink.start("--only", "sink").wait_ready()
    with site.workload():
        for sink in sinks:
            wait_until("each of them has written an object", lambda sink=sink: objects_of(sink) > 0, 60)
        site.auditor.glance()
        sinks[0].kill()
        time.sleep(5)
    assert_exact(site, site.auditor.verdict())
    assert sinks[1].stop() == 0


def test_broker_killed(make: SiteMaker) -> None:
    site = make().init().run()
    with site.workload():
        time.sleep(2)
        site.stack.kafka.kill()
        time.sleep(3)
        assert site.agent.running().running, "the agent must wait for Kafka"
        site.stack.kafka.start()
        time.sleep(3)
    assert_exact(site, site.auditor.verdict(timeout=150))
    assert site.agent.stop() == 0


def test_postgres_killed(make: SiteMaker) -> None:
    site = make().init().run()
    with site.workload():
        time.sleep(2)
        site.stack.postgres.kill()
        wait_until("the agent has lost its server, and goes on", lambda: site.agent.running().require_running() or failures(site, "postgres") > 0, 20)
        site.stack.postgres.start()
        site.reconnect()
        time.sleep(3)
    assert_exact(site, site.auditor.verdict())
    assert site.agent.stop() == 0


def test_a_server_that_goes_after_the_first_commit_is_waited_for(make: SiteMaker) -> None:
    """69 is for a start: once rows have flowed, a server may be away for as long as it likes."""
    site = make({"limits": {"start_timeout": "2s"}}).init().run("--only", "stream")
    site.sql("insert into public.documents values (1, 'x', null, null)")
    site.auditor.wait_kafka()
    time.sleep(3)  # `start_timeout` has passed
    tried = 'sluice_errors_total{class="session",component="postgres"}'
    assert tried not in site.agent.metrics()
    site.stack.postgres.kill()
    gone = time.monotonic()

    def retried() -> bool:
        site.agent.running().require_running()
        return site.agent.metrics()[tried] >= 3 and time.monotonic() - gone > 4  # and once more, from when it went
    wait_until("it has tried again and again", retried, 30)
    site.stack.postgres.start()
    site.reconnect()
    site.sql("insert into public.documents values (2, 'x', null, null)")
    verdict = site.auditor.verdict(objects=False)
    assert verdict.clean and verdict.changes == 2, verdict.report()
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_a_sink_that_has_run_waits_for_its_servers(world: World, fronted: SiteMaker) -> None:
    """As a stream does: for the store within a session, and for brokers from one session to the next."""
    front = broker_front(world)
    site = fronted().init().run("--only", "stream")
    sink = site.twin("sink", {"limits": {"start_timeout": "2s"}}).start("--only", "sink").wait_ready()
    time.sleep(3)  # `start_timeout` has passed

    def failed(component: str, kind: str = "") -> float:
        sink.running().require_running()
        return sum(value for name, value in sink.metrics().items()
                   if name.startswith("sluice_errors_total") and f'component="{component}"' in name and f'class="{kind}' in name)
    gone = time.monotonic()
    world.store_front.answer(503, 1_000_000)
    try:
        site.sql("insert into public.documents values (1, 'x', null, null)")
        wait_until("it has tried again and again", lambda: failed("s3") >= 3 and time.monotonic() - gone > 4, 40)
    finally:
        world.store_front.heal()
    site.auditor.wait_objects(read_topics(world.kafka.brokers, site.auditor.topics))
    before = front.hits
    front.stall(ClientFront.OFFSET_FETCH)
    try:
        sink.pause()  # for longer than its session in the group: it is given its partitions anew
        time.sleep(4.5)
        sink.resume()
        assert front.wait_hit(before, 30), "it did not ask where it was"
        wait_until("a session has ended", lambda: failed("kafka", "sink") >= 1, 40)
    finally:
        front.heal()
    site.sql("insert into public.documents values (2, 'x', null, null)")
    verdict = site.auditor.verdict()
    assert verdict.clean and verdict.changes == 2, verdict.report()
    assert sink.stop() == 0 and site.agent.stop() == 0


PAGE = b"<html>log in</html>"


class Page(BaseHTTPRequestHandler):
    """A gateway's own page: it answers 200 to whatever is asked."""

    is_tagged = False

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        if self.is_tagged:
            self.send_header("ETag", '"5-abc"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(PAGE)

    do_GET = do_HEAD = do_PUT = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def page_at(port: int, tagged: bool) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), type("AnyPage", (Page,), {"is_tagged": tagged}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def test_store_killed_or_hung(make: SiteMaker) -> None:
    """And, where it was killed, something in its place that is none."""
    site = make().init().run()
    store = site.stack.store
    with site.workload():
        time.sleep(2)
        if store.keeps_objects:
            store.kill()
            wait_until("the sink has lost its store, and goes on", lambda: site.agent.running().require_running() or failures(site, "s3") > 0, 30)
            with page_at(store.port, tagged=False):
                wait_until("it is not taken for a store", lambda: "not an object store's" in site.agent.said(), 30)
            refused = site.agent.said().count("it has content")
            with page_at(store.port, tagged=True):
                wait_until("nor where its pages have an ETag, as those of some have",
                           lambda: site.agent.running().require_running() or site.agent.said().count("it has content") > refused + 1, 60)
            store.start()
        else:  # a store that forgets is not what the contract is about: it hangs instead
            store.pause()
            try:
                time.sleep(4)
            finally:
                store.resume()
        time.sleep(1)
    assert_exact(site, site.auditor.verdict())
    assert site.agent.stop() == 0


def test_zombie_is_fenced_and_ends_with_4(make: SiteMaker) -> None:
    site = make().init().run()
    successor = site.twin("successor")
    with site.workload():
        time.sleep(1.5)
        site.agent.pause()
        successor.start()
        wait_until("the second waits while the slot is held",
                   lambda: successor.running().require_running() or successor.http("/readyz") == (503, "standby\n"), 30)
        site.sql(f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{site.agent.slot}' and active")
        successor.wait_ready()
        time.sleep(1)
        site.agent.resume()
        assert site.agent.running().wait(30) == 4
        time.sleep(1)
    site.auditor.agent = successor
    assert_exact(site, site.auditor.verdict())
    assert successor.stop() == 0


@pytest.mark.seldom
def test_transactions_that_time_out_are_no_fences(make: SiteMaker) -> None:
    """Whatever is slow, and however often: it is not another agent, which four fences are taken for."""
    site = make({"kafka": {"transaction": {"timeout": "2s", "interval": "800ms"}, "split": {"age": "1s"}}}).init().run("--only", "stream")

    def refused(kind: str) -> float:
        return sum(value for name, value in site.agent.metrics().items() if name.startswith("sluice_errors_total") and f'class="{kind}"' in name)
    with site.workload():
        while (before := refused("expired")) < 4:
            time.sleep(0.5)
            site.agent.pause()  # most often in the middle of one
            time.sleep(4)
            site.agent.resume()
            deadline = time.monotonic() + 2
            while refused("expired") == before and time.monotonic() < deadline:
                time.sleep(0.1)
            wait_until("it goes on", lambda: site.agent.said().count("kafka goes on") >= refused("expired"), 30)
    assert refused("fenced") == 0
    assert_exact(site, site.auditor.verdict(objects=False))
    assert site.agent.stop() == 0


def test_a_topic_deleted_under_the_stream_is_made_again(make: SiteMaker) -> None:
    """What was in it is gone, as whoever deleted it wanted; rows go on, and no other topic misses any."""
    # The client gives a record up after the transaction's time-out.
    site = make({"kafka": {"transaction": {"timeout": "10s"}, "split": {"age": "5s"}}}).init().run("--only", "stream")
    gold, topic = "public.dadostesouroipca_gold", f"{site.agent.name}.public.dadostesouroipca_gold"

    def insert(first: int) -> None:
        site.sql(f"insert into {gold} select date '2000-01-01' + n, 'x', n from generate_series({first}, {first + 99}) n")
        site.sql(f"insert into public.documents select n, 'x', null, null from generate_series({first}, {first + 99}) n")

    insert(0)
    site.auditor.wait_kafka()
    site.stack.kafka.delete_topics([topic])
    wait_until("the topic is gone", lambda: topic not in site.stack.kafka.topics(), 30)
    insert(100)
    site.auditor.wait_kafka(60)
    site.agent.running().require_running()
    read = read_topics(site.stack.kafka.brokers, [topic, f"{site.agent.name}.public.documents"])
    assert {name: sum(len(found) for (of, _), found in read.items() if of == name) for name in {of for of, _ in read}} == {
        topic: 100, f"{site.agent.name}.public.documents": 200}
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_confirmed_never_passes_stored(make: SiteMaker) -> None:
    site = make().init().run()
    moments = random.Random(11)
    with site.workload(rate=300):
        for _ in range(15):
            time.sleep(moments.uniform(0.05, 0.6))
            site.agent.pause()
            time.sleep(0.2)  # what is on its way to the servers arrives
            assert_confirmed_is_stored(site)
            site.agent.resume()
    assert_exact(site, site.auditor.verdict(objects=False))


def test_nothing_is_confirmed_while_a_commit_is_on_its_way(world: World, fronted: SiteMaker) -> None:
    """C4: with all sent, and the answer to the commit alone outstanding, for several reports to the server."""
    front, brokers = broker_front(world), world.kafka.brokers
    site = fronted().init()
    site.sql(f"alter database {site.database} set wal_sender_timeout = '2s'")  # a report every 667 ms
    site.run("--only", "stream")
    site.sql("insert into public.documents values (1, 'x', null, null)")
    site.auditor.wait_kafka()
    before = front.hits
    front.stall()
    try:
        site.sql("insert into public.documents values (2, 'x', null, null)")
        assert front.wait_hit(before, 20), "no commit was held up"
        stored = read_progress(brokers, site.agent.name)[-1].lsn
        told = ("select reply_time, coalesce(write_lsn, '0/0') - '0/0', coalesce(flush_lsn, '0/0') - '0/0' from pg_stat_replication"
                f" where pid = (select active_pid from pg_replication_slots where slot_name = '{site.agent.slot}')")
        reports: set[object] = set()
        until = time.monotonic() + 20
        while len(reports) < 4 and time.monotonic() < until:
            row, mark = site.connection.execute(told).fetchone(), confirmed(site.connection, site.agent.slot)
            assert row is not None and mark is not None
            assert max(mark, row[2]) <= stored, f"confirmed {mark:X}, flush {int(row[2]):X}, stored {stored:X}"
            if row[1] > stored:  # it has the transaction
                reports.add(row[0])
            time.sleep(0.02)
        assert len(reports) >= 4, f"{len(reports)} reports of one that had received more: nothing was tested"
        assert read_progress(brokers, site.agent.name)[-1].lsn == stored, "a commit was let through"
    finally:
        front.heal()
    verdict = site.auditor.verdict(objects=False)
    assert verdict.clean and verdict.changes == 2, verdict.report()
    assert site.agent.stop() == 0
    assert_confirmed_is_stored(site)


def test_a_commit_that_was_made_before_its_producer_was_fenced_is_known(world: World, fronted: SiteMaker) -> None:
    """C1: its answer is lost, and whoever asks again is refused: another has the id. What Kafka holds says that it was made."""
    front = broker_front(world)
    site = fronted().init().run("--only", "stream")
    topic = f"{site.agent.name}.public.documents"

    def rows() -> int:
        return sum(map(len, read_topics(world.kafka.brokers, [topic]).values()))
    site.sql("insert into public.documents values (1, 'x', null, null)")
    site.auditor.wait_kafka()
    before = front.hits
    front.lose_answer()
    site.sql("insert into public.documents values (2, 'x', null, null)")
    assert front.wait_hit(before, 20), "no answer was lost"
    assert rows() == 2, "not that of the row's commit"
    stranger = Producer({"bootstrap.servers": world.kafka.brokers, "transactional.id": f"sluice.{site.agent.name}"})
    stranger.init_transactions(30)
    front.reset()

    def decided() -> bool:
        site.agent.running().require_running()
        return "kafka goes on: " in site.agent.log.read_text()
    wait_until("it has decided", decided, 60)
    log = site.agent.log.read_text()
    assert "kafka goes on: the commit had been made" in log and "was sent again" not in log, log[-2000:]
    site.sql("insert into public.documents values (3, 'x', null, null)")
    verdict = site.auditor.verdict(objects=False)
    assert verdict.clean and verdict.changes == 3, verdict.report()
    assert rows() == 3
    assert site.agent.stop() == 0
    assert_confirmed_is_stored(site)


@pytest.mark.seldom
def test_a_connection_that_died_without_a_word_is_given_up(world: World, fronted: SiteMaker) -> None:
    """Where a proxy's far side is gone, TCP says nothing: the server ends its walsender, and the agent would wait for ever."""
    site = fronted().init()
    site.sql(f"alter database {site.database} set wal_sender_timeout = '2s'")  # a report every 667 ms: five seconds are enough
    site.run("--only", "stream")
    site.sql("insert into public.documents values (1, 'x', null, null)")
    site.auditor.wait_kafka()
    world.postgres_front.strand()
    site.sql("insert into public.documents values (2, 'x', null, null)")

    def again() -> bool:
        site.agent.running().require_running()
        return "the slot is no longer in use by this stream" in site.agent.log.read_text()
    wait_until("the session is given up", again, 60)
    verdict = site.auditor.verdict(objects=False)
    assert verdict.clean and verdict.changes == 2, verdict.report()
    assert site.agent.stop() == 0


def test_fast_shutdown_is_not_held_up(make: SiteMaker) -> None:
    """With Kafka hanging nothing can be confirmed; a walsender would wait for that for ever. Another host of the string says nothing of it."""
    site = make().init()
    postgres = site.stack.postgres
    url = site.agent.settings["postgres"]["url"].replace(f":{postgres.port}/", f":{postgres.port},127.0.0.1:{free_port()}/")
    site.agent.settings = merge(site.agent.settings, {"postgres": {"url": url}})
    site.agent.write()
    site.run()
    with site.workload():
        time.sleep(2)
        site.stack.kafka.pause()
        try:
            time.sleep(2)
            began = time.monotonic()
            postgres.stop("fast", timeout=25)
            took = time.monotonic() - began
        finally:
            site.stack.kafka.resume()
        postgres.start()
        site.reconnect()
    assert took < 20, f"pg_ctl stop -m fast took {took:.0f} s"
    assert_exact(site, site.auditor.verdict(timeout=150))


@pytest.mark.seldom
def test_fast_shutdown_is_not_held_up_by_an_agent_that_starts(make: SiteMaker) -> None:
    """One that has the slot and still waits for its position reads nothing and confirms nothing."""
    site = make().init()
    postgres, brokers = site.stack.postgres, site.stack.kafka.brokers
    foreign = Producer({"bootstrap.servers": brokers, "transactional.id": f"foreign.{site.name}"})
    foreign.init_transactions(20)
    foreign.begin_transaction()
    foreign.produce(site.agent.progress_topic, key=b"foreign", value=b"{}")
    foreign.flush(20)
    site.agent.start("--only", "stream")
    wait_until("it waits", lambda: "open transaction on the progress topic" in site.agent.log.read_text(), 30)
    site.sql("insert into public.documents values (1, 'x', null, null)")
    began = time.monotonic()
    postgres.stop("fast", timeout=25)
    took = time.monotonic() - began
    foreign.abort_transaction(20)
    postgres.start()
    site.reconnect()
    assert took < 20, f"pg_ctl stop -m fast took {took:.0f} s"
    site.agent.wait_ready()
    verdict = site.auditor.verdict(objects=False)
    assert verdict.clean and verdict.changes == 1, verdict.report()


def test_an_agent_ends_in_time_although_kafka_hangs(make: SiteMaker) -> None:
    """Within `stop_timeout`, and at a second signal at once. What was not committed comes with the next start."""
    site = make({"limits": {"stop_timeout": "5s"}}).init().run()
    with site.workload():
        for signals, most in ((1, 7.0), (2, 2.0)):
            time.sleep(1)
            site.stack.kafka.pause()
            try:
                time.sleep(1)
                process = site.agent.running()
                began = time.monotonic()
                for number in range(signals):
                    time.sleep(0.2 * number)
                    process.send(signal.SIGTERM)
                code = process.wait(20)
                took = time.monotonic() - began
            finally:
                site.stack.kafka.resume()
            assert took < most and code == (0 if signals == 1 else 128 + signal.SIGTERM), f"{signals} signals: exit {code} after {took:.1f} s"
            if signals == 1:
                log = site.agent.log.read_text()
                assert "drained" not in log and "not in Kafka, and comes again" in log, log[-1500:]
            site.run()
    assert_exact(site, site.auditor.verdict(timeout=150))


def test_an_agent_ends_in_time_before_it_streams(make: SiteMaker) -> None:
    """It asks brokers that do not answer, each question for as long as ten seconds."""
    site = make({"limits": {"stop_timeout": "2s"}}).init()
    site.stack.kafka.pause()
    try:
        process = site.agent.start("--only", "stream").running()
        wait_until("it has begun", lambda: "sluice version" in site.agent.log.read_text(), 30)
        time.sleep(1)
        began = time.monotonic()
        process.send(signal.SIGTERM)
        code = process.wait(20)
        took = time.monotonic() - began
    finally:
        site.stack.kafka.resume()
    assert code == 0 and took < 5, f"exit {code} after {took:.1f} s"
    assert "streaming slot" not in site.agent.log.read_text()


@pytest.mark.parametrize("load", [True, False], ids=["under-load", "idle"])
def test_sigterm_drains(make: SiteMaker, load: bool) -> None:
    site = make().init().run()
    workload = site.workload(rate=200).start()
    time.sleep(2)
    if not load:
        workload.stop()
    began = time.monotonic()
    code = site.agent.stop(timeout=30)
    took = time.monotonic() - began
    workload.stop()
    assert code == 0 and took < 12, f"exit {code} after {took:.1f} s"
    assert_confirmed_is_stored(site)
    site.run()
    assert_exact(site, site.auditor.verdict())


def test_slot_moves_on_a_busy_database_with_an_idle_publication(make: SiteMaker) -> None:
    site = make().init().run()
    site.sql("insert into public.unpublished select n, repeat('x', 500) from generate_series(1, 20000) n")
    row = site.connection.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    target = int(row[0])

    def moved() -> bool:
        site.sql("update public.unpublished set v = v || '.' where id = 1")
        return (confirmed(site.connection, site.agent.slot) or 0) >= target
    wait_until("the idle position passes other tables' WAL", moved, 40, pause=0.5)
    site.agent.pause()
    assert_confirmed_is_stored(site)
    site.agent.resume()


@pytest.mark.only("pg18")  # PostgreSQL 17 has brought transaction_timeout
def test_time_outs_of_the_database_do_not_end_the_stream(make: SiteMaker) -> None:
    """A walsender that sends a transaction is in one, for as long as nobody takes more from it (C7)."""
    site = make({"limits": {"memory": "16MiB"}}).init()
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"]
    site.sql(*(f"alter database {site.database} set {name} = '2s'" for name in names))
    site.run("--only", "stream")
    site.sql("insert into public.documents values (0, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    holder = f"select active_pid from pg_replication_slots where slot_name = '{site.agent.slot}'"
    before = site.connection.execute(holder).fetchone()
    site.stack.kafka.pause()
    try:
        site.sql("insert into public.documents select n, 'a', repeat('x', 1000), now() from generate_series(1, 40000) n")
        wait_until("nothing is read for longer than any of them", lambda: site.agent.metrics()["sluice_stream_paused_seconds"] > 4, 40)
        after = site.connection.execute(holder).fetchone()
    finally:
        site.stack.kafka.resume()
    assert before and before[0] is not None and after == before, f"another walsender: {before}, {after}"
    site.auditor.wait_kafka(60)
    assert site.agent.stop() == 0


def test_the_server_is_reported_to_while_nothing_is_read(make: SiteMaker) -> None:
    """C7: a walsender that hears nothing for `wal_sender_timeout` ends, and its request for a reply lies behind what is not read."""
    site = make({"limits": {"memory": "16MiB"}}).init()
    site.sql(f"alter database {site.database} set wal_sender_timeout = '4s'")
    site.run("--only", "stream")
    site.sql("insert into public.documents values (0, 'a', 'b', now())")
    site.auditor.wait_kafka(30)
    holder = ("select a.pid, a.backend_start from pg_stat_activity a join pg_replication_slots s on s.active_pid = a.pid"
              f" where s.slot_name = '{site.agent.slot}'")
    before = site.connection.execute(holder).fetchone()
    site.stack.kafka.pause()
    try:
        site.sql("insert into public.documents select n, 'a', repeat('x', 1000), now() from generate_series(1, 40000) n")
        wait_until("nothing is read", lambda: site.agent.metrics()["sluice_stream_paused_seconds"] > 0, 20)
        time.sleep(9)
        after = site.connection.execute(holder).fetchone()
        assert site.agent.metrics()["sluice_stream_paused_seconds"] > 8, "it went on reading: nothing was tested"
    finally:
        site.stack.kafka.resume()
    assert before is not None and after == before, f"another walsender: {before}, {after}"
    site.auditor.wait_kafka(60)
    assert site.connection.execute(holder).fetchone() == before
    assert site.agent.stop() == 0


@pytest.mark.seldom
def test_transactions_without_a_row_are_bounded_too_while_kafka_is_away(make: SiteMaker) -> None:
    """C7: they take no room in a chunk but for their ends, and none of them may be read further than the chunks go."""
    site = make({"limits": {"memory": "16MiB"}}).init().run("--only", "stream")
    site.sql("insert into public.documents values (0, 'a', 'b', now())",  # else the truth is empty
             f"alter publication {site.agent.slot} add table public.unpublished", "insert into public.unpublished values (1, 'a')")
    site.auditor.wait_kafka(30)
    site.stack.kafka.pause()
    try:
        site.sql("insert into public.documents values (1, 'a', 'b', now())", "set synchronous_commit = off")
        site.sql("do $$ begin for i in 1..60000 loop update public.unpublished set v = i::text where id = 1; commit; end loop; end $$")
        def full() -> bool:
            metrics = site.agent.metrics()  # chunks are counted when the server is reported to
            assert metrics["sluice_buffered_bytes"] <= 16 << 20
            return metrics["sluice_stream_paused_seconds"] > 0 and metrics["sluice_buffered_bytes"] >= 4 << 20
        wait_until("nothing more is read", full, 60)
        assert peak_memory(site.agent.running().pid) < 56 << 20, "of all 60000 there would be more"
    finally:
        site.stack.kafka.resume()
    site.auditor.wait_kafka(60)
    assert site.agent.stop() == 0
    assert_confirmed_is_stored(site)


@pytest.mark.seldom
@pytest.mark.parametrize("first", [0, pytest.param(1, marks=pytest.mark.long)], ids=["documents", "positions"])
def test_no_row_is_dropped_where_several_objects_meet_a_full_disk_at_once(make: SiteMaker, first: int) -> None:
    """In one poll: an object that has nothing on disk yet finds out, and then others that have, and a rest that does not fit."""
    site = make({"kafka": {"partitions": 16}, "s3": {"compression": "none", "rotate": {"bytes": "64MiB", "age": "20s"}}}).init().run()
    loads = ["insert into public.documents select n, 'a', repeat('x', 2000), now() from generate_series({}, {}) n",
             "insert into public.positions select n, 'b', '2026-01-01', 1, true, decode(repeat('ab', 1000), 'hex') from generate_series({}, {}) n"]
    site.sql(loads[first].format(1, 3200))
    wait_until("objects have a part on disk", lambda: site.agent.metrics()["sluice_spool_bytes"] > 3 << 20, 60)
    # As a disk that is full: what is there stays, and no file grows beyond this.
    pid = site.agent.running().pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    with site.stack.postgres.connect(site.database) as one, one.transaction():
        for start in range(10_000, 10_800, 40):
            for load in loads:
                one.execute(load.format(start, start + 39))
    wait_until("the disk was full", lambda: "the spool cannot be written" in site.agent.log.read_text(), 60)
    time.sleep(3)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert site.agent.metrics()["sluice_sink_dropped_total"] == 0
    assert_exact(site, site.auditor.verdict())
    assert site.agent.stop() == 0


@pytest.mark.long  # a minute of quiet
def test_a_sink_that_no_broker_answers_says_so(make: SiteMaker) -> None:
    site = make()
    site.agent.must("init")
    site.run("--only", "sink")
    wait_until("it has its partitions", lambda: site.agent.http("/readyz")[0] == 200, 30)
    site.stack.kafka.pause()
    try:
        wait_until("it says so", lambda: "the brokers do not answer" in site.agent.http("/readyz")[1], 90, pause=1)
        assert site.agent.metrics()["sluice_sink_failed"] == 1
    finally:
        site.stack.kafka.resume()
    wait_until("it is well again", lambda: site.agent.http("/readyz")[0] == 200, 60)
    assert site.agent.stop() == 0
