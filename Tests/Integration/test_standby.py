"""Standby (C10): the other agent takes over by itself, soon, and without a loss; the one that was replaced ends with 4."""

from __future__ import annotations

import json
import os
import selectors
import socket
import statistics
import threading
import time
import uuid

import psycopg
from confluent_kafka import Consumer, TopicPartition
from conftest import SiteMaker

from harness.agent import Agent
from harness.oracle.topics import read_topics
from harness.oracle.verdict import Verdict
from harness.processes import free_port, wait_until
from harness.site import Site

TAKEOVERS = 20 if os.environ.get("SLUICE_TEST_LONG") else 5
SENDER_TIMEOUT = 2  # seconds


class Watcher:
    """Sees rows as a consumer does, from now on."""

    def __init__(self, site: Site) -> None:
        topic = site.agent.topic(("public", "documents"))
        self.consumer = Consumer({
            "bootstrap.servers": site.stack.kafka.brokers, "group.id": f"watcher-{uuid.uuid4()}", "enable.auto.commit": False,
            "isolation.level": "read_committed", "fetch.wait.max.ms": 20, "log_level": 0})
        # The ends as they are now: where they are looked up by the client, that may be behind the row which is waited for.
        ends = {number: self.consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in range(3)}
        self.consumer.assign([TopicPartition(topic, number, end) for number, end in ends.items()])

    def wait(self, number: int, timeout: float = 60) -> float:
        """Seconds until the document is visible."""
        began = time.monotonic()
        while time.monotonic() - began < timeout:
            message = self.consumer.poll(0.05)
            if message is not None and message.error() is None and json.loads(message.key())["id"] == number:
                return time.monotonic() - began
        raise AssertionError(f"document {number} is not visible after {timeout:.0f} s")

    def close(self) -> None:
        self.consumer.close()


class Cable:
    """A TCP proxy that can be cut without either side being told."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = free_port()
        self.cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(one,), daemon=True).start()

    def _carry(self, one: socket.socket) -> None:
        with one, socket.create_connection(("127.0.0.1", self.target)) as two, selectors.DefaultSelector() as ready:
            ready.register(one, selectors.EVENT_READ, two)
            ready.register(two, selectors.EVENT_READ, one)
            try:
                while True:
                    for key, _ in ready.select():
                        while self.cut.is_set():
                            time.sleep(0.02)
                        data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        if not data:
                            return
                        key.data.sendall(data)
                        if not self._goes_on(one, two, data):
                            return
            except OSError:
                return

    def _goes_on(self, one: socket.socket, two: socket.socket, data: bytes) -> bool:
        """Whether the connection lives on once `data` was passed: `one` is the client's side."""
        return True

    def close(self) -> None:
        self.cut.clear()
        self._listener.close()


class Forgetful(Cable):
    """Once it is told to, it loses the answer to the next START_REPLICATION, and that connection for the client alone."""

    def __init__(self, port: int) -> None:
        self.forgets = threading.Event()
        super().__init__(port)

    def _goes_on(self, one: socket.socket, two: socket.socket, data: bytes) -> bool:
        if b"START_REPLICATION" not in data or not self.forgets.is_set():
            return True
        self.forgets.clear()
        two.recv(1)
        one.close()
        while two.recv(65536):
            pass
        return False


def document(site: Site, number: int) -> None:
    site.sql(f"insert into public.documents values ({number}, 'row', null, null)")


def pair(make: SiteMaker) -> tuple[Site, Agent]:
    site = make()
    site.sql(f'alter database "{site.database}" set wal_sender_timeout = \'{SENDER_TIMEOUT}s\'')
    site.reconnect()
    site.init()
    site.run("--only", "stream")
    other = site.twin("standby")
    other.start("--only", "stream")
    wait_standby(other)
    return site, other


def wait_standby(agent: Agent) -> None:
    def waits() -> bool:
        agent.running().require_running()
        return agent.http("/readyz") == (503, "standby\n")
    wait_until(f"{agent.label} is a standby (log: {agent.log})", waits, 30, pause=0.1)


def assert_exact(verdict: Verdict) -> None:
    print(verdict.line())
    assert verdict.clean, verdict.report()
    assert verdict.kafka_transactions is not None


def finish(site: Site, active: Agent) -> None:
    site.auditor.agent = active
    assert_exact(site.auditor.verdict(objects=False))


def test_readyz_tells_them_apart_and_the_standby_disturbs_nothing(make: SiteMaker) -> None:
    site, other = pair(make)
    assert site.agent.http("/readyz") == (200, "streaming\n")
    with site.workload():
        time.sleep(4)
        assert other.http("/healthz")[0] == 200 and other.http("/readyz")[0] == 503
    status = other.status()
    assert status["state"] == "standby" and "walsender" in status["detail"], status
    assert site.agent.log.read_text().count("streaming slot=") == 1, "the active one was disturbed"
    finish(site, site.agent)
    assert other.stop() == 0 and site.agent.stop() == 0


def test_killed_the_other_shows_a_row_within_5_seconds(make: SiteMaker) -> None:
    site, other = pair(make)
    watcher = Watcher(site)
    with site.workload():
        time.sleep(1.5)
        site.agent.kill()
        document(site, -1)
        took = watcher.wait(-1)
        print(f"take-over after kill -9: first row after {took:.2f} s")
        time.sleep(1)
    watcher.close()
    assert other.http("/readyz") == (200, "streaming\n")
    assert took <= 5
    finish(site, other)
    assert other.stop() == 0


def test_a_row_that_cannot_be_published_ends_both_with_5(make: SiteMaker) -> None:
    """Each gives up the slot once, to publish what is before the row: the other may get it meanwhile, and neither was replaced."""
    site = make(encoding="SQL_ASCII").init().run("--only", "stream")
    second = site.twin("second").start("--only", "stream")
    wait_until("it waits for the slot", lambda: second.http("/readyz")[1].startswith("standby"), 30)
    site.sql(*(f"insert into public.documents values ({number}, 'before', null, null)" for number in range(50)),
             "insert into public.documents values (99, E'a\\377b', null, null)")
    assert [agent.running().wait(60) for agent in (site.agent, second)] == [5, 5]
    found = read_topics(site.stack.kafka.brokers, [site.agent.topic(("public", "documents"))])
    assert sum(map(len, found.values())) == 50


def test_a_table_that_is_locked_holds_nobody_up(make: SiteMaker) -> None:
    """A job that replaces a table in one long transaction: neither a take-over nor other tables wait for its lock."""
    site, other = pair(make)
    document(site, 1)
    watcher = Watcher(site)
    with psycopg.connect(site.stack.postgres.conninfo(site.database)) as job:
        job.execute("truncate public.positions")
        site.agent.kill()
        document(site, -1)
        took = watcher.wait(-1)
        print(f"take-over beside a locked table: first row after {took:.2f} s")
        # A third one starts from nothing, and stands by.
        wait_standby(site.twin("third").start("--only", "stream"))
    watcher.close()
    assert took <= 5
    finish(site, other)
    assert other.stop() == 0


def test_stopped_past_the_time_out_the_woken_one_ends_with_4(make: SiteMaker) -> None:
    site, other = pair(make)
    watcher = Watcher(site)
    with site.workload():
        time.sleep(1.5)
        site.agent.pause()
        document(site, -1)
        took = watcher.wait(-1)
        print(f"take-over after SIGSTOP, wal_sender_timeout {SENDER_TIMEOUT} s: first row after {took:.2f} s")
        time.sleep(1)
        site.agent.resume()
        assert site.agent.running().wait(30) == 4
        time.sleep(1)
    watcher.close()
    assert took <= SENDER_TIMEOUT + 5
    log = site.agent.log.read_text()
    assert "nothing is lost" in log or "has taken over" in log, log[-1500:]
    finish(site, other)
    assert other.stop() == 0


def test_cut_off_from_postgres_the_other_takes_over(make: SiteMaker) -> None:
    site = make()
    site.sql(f'alter database "{site.database}" set wal_sender_timeout = \'{SENDER_TIMEOUT}s\'')
    site.reconnect()
    site.init()
    cable = Cable(site.stack.postgres.port)
    try:
        url = site.agent.settings["postgres"]["url"].replace(f":{site.stack.postgres.port}", f":{cable.port}")
        far = site.twin("far", {"postgres": {"url": url}})
        far.start("--only", "stream").wait_ready()
        site.agent.start("--only", "stream")
        wait_standby(site.agent)
        watcher = Watcher(site)
        with site.workload():
            time.sleep(1.5)
            cable.cut.set()
            document(site, -1)
            took = watcher.wait(-1)
            print(f"take-over after a cut, wal_sender_timeout {SENDER_TIMEOUT} s: first row after {took:.2f} s")
            time.sleep(1)
            cable.cut.clear()
            assert far.running().wait(60) == 4
        watcher.close()
        assert took <= SENDER_TIMEOUT + 5
        finish(site, site.agent)
        assert site.agent.stop() == 0
    finally:
        cable.close()


def test_a_walsender_whose_answer_was_lost_is_our_own(make: SiteMaker) -> None:
    """The server has given it the slot, and would keep it until its time-out: it is ended, and nobody has taken over."""
    site = make().init()
    cable = Forgetful(site.stack.postgres.port)
    try:
        url = site.agent.settings["postgres"]["url"].replace(f":{site.stack.postgres.port}", f":{cable.port}")
        far = site.twin("far", {"postgres": {"url": url}})
        far.start("--only", "stream").wait_ready()
        watcher = Watcher(site)
        cable.forgets.set()
        site.sql(f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{far.slot}' and active")
        wait_until("the answer is lost", lambda: far.running().require_running() or not cable.forgets.is_set(), 20)
        document(site, -1)
        took = watcher.wait(-1, 30)
        print(f"after a lost answer: first row after {took:.2f} s")
        watcher.close()
        assert "ending our own old walsender" in far.log.read_text()
        finish(site, far)
        assert far.stop() == 0
    finally:
        cable.close()


def test_no_ping_pong_over_many_take_overs(make: SiteMaker) -> None:
    """A supervisor starts the loser again at once: it waits, and the winner is left in peace."""
    site, other = pair(make)
    active, waiting = site.agent, other
    watcher = Watcher(site)
    times = []
    with site.workload(rate=60):
        for number in range(1, TAKEOVERS + 1):
            if number % 5:
                active.kill()
                document(site, -number)
                times.append(watcher.wait(-number))
            else:
                active.pause()
                document(site, -number)
                watcher.wait(-number)
                active.resume()
                assert active.running().wait(30) == 4
            active.start("--only", "stream")
            wait_standby(active)
            active, waiting = waiting, active
    watcher.close()
    sessions = sum(agent.log.read_text().count("streaming slot=") for agent in (active, waiting))
    print(f"{TAKEOVERS} take-overs, {sessions} sessions streamed; after kill -9 the first row came after"
          f" {min(times):.2f} to {max(times):.2f} s, in the middle {statistics.median(times):.2f} s")
    assert sessions == TAKEOVERS + 1
    assert max(times) <= 5
    finish(site, active)
    assert active.stop() == 0 and waiting.stop() == 0
