"""A short campaign of every kind of fault, with a fresh seed, and what makes the failpoints safe to have."""

from __future__ import annotations

import random
import re
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest
from confluent_kafka import Producer
from conftest import SiteMaker

from harness.agent import Agent, binary
from harness.campaign.__main__ import campaign, failpoints, parse_stack
from harness.campaign.crew import Crew, Finding, total
from harness.campaign.faults import KINDS, SINK_POINTS, STREAM_POINTS, deck
from harness.campaign.ladder import Ladder
from harness.campaign.rounds import Plan
from harness.campaign.world import TRANSACTION_TIMEOUT, Choice, World
from harness.oracle.borders import is_ending
from harness.processes import Lab, wait_until
from harness.site import Stack


def test_one_fault_of_every_kind(stack: Stack, lab: Lab) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    program = failpoints()
    assert program is not None, "failpoints need the debug build: swift build --build-tests"
    version, client = parse_stack(stack.name)
    plan = Plan(seed, len(KINDS), list(KINDS), check_every=len(KINDS), rate=30, failpoints=program)
    result = campaign(Choice(version, client, 1), plan, lab)
    print(result.line(stack.name))
    assert result.clean, "\n".join(result.findings)
    assert set(result.broken) == set(KINDS) and result.numbers["changes"] > 1000
    assert not any(result.zeros.values())
    assert result.looks > 200, "nobody looked at what the slot may forget"


@pytest.mark.long  # a minute or two, and the broker has to err
def test_a_transaction_that_its_coordinator_forgot(stack: Stack, lab: Lab) -> None:
    """A broker that was away for longer than a transaction may be open ends it while it starts, when it does not know yet who leads
    which partition: it leaves no marker there (Kafka 4.3), and nobody but us ends that transaction any more."""
    version, client = parse_stack(stack.name)
    world = World(Choice(version, client, 1), lab, "forgetful")
    try:
        site = world.site({}).init().run()
        ended, attempts = "sluice_errors_total{class=\"hanging_transaction\",component=\"kafka\"}", 0
        with site.workload(rate=100):
            while not site.agent.metrics().get(ended) and attempts < 5:
                attempts += 1
                time.sleep(2)
                world.kafka.kill()
                time.sleep(TRANSACTION_TIMEOUT + 1)
                world.kafka.start(timeout=120)
                before = total(site.agent, "sluice_transactions_total")
                wait_until("rows flow again", lambda: total(site.agent, "sluice_transactions_total") > before, 90)
        left = (world.kafka.nodes[0].root / "server.log").read_text().count("these partitions are likely deleted already")
        assert left, f"the broker forgot no transaction in {attempts} restarts: nothing was tested"
        assert site.agent.metrics().get(ended, 0) >= 1, f"forgotten transactions: {left}, seen and ended: none"
        verdict = site.auditor.verdict(timeout=150)
        print(verdict.line())
        assert verdict.clean, verdict.report()
        assert site.agent.stop() == 0
        site.close()
    finally:
        world.close()


@pytest.mark.long
def test_a_commit_whose_markers_its_coordinator_forgot(stack: Stack, lab: Lab) -> None:
    """A commit is answered, and the broker that leads some of its partitions is gone before its markers come; no other has them. The
    coordinator gives up. What ends the agent's next transaction in those partitions ends this one too, and it may be an abort."""
    version, client = parse_stack(stack.name)
    world = World(Choice(version, client, 3), lab, "forgetful-three", is_marked=True)
    try:
        site = world.site({"kafka": {"replication_factor": 1}}).init().run()
        gold, name = site.auditor.topics[0], f"sluice.{site.agent.name}"
        for round_ in range(4):
            with site.workload(rate=50):
                time.sleep(1)
                coordinator = world.coordinator(name, "__transaction_state")
                gone = next(node for node in (world.leader(gold, partition) for partition in range(3)) if node != coordinator)
                world.markers[gone].stall()
                wait_until("a commit is decided", lambda: is_ending(world.kafka.nodes[coordinator].data, name), 60)
                world.kafka.kill(gone)
                world.markers[gone].flow()
            # The next transaction takes the agent a while.
            site.sql(f"insert into public.positions select n, 'LTN', '2030-01-01'::date + {round_}, n, true, null from generate_series(1, 200000) n")
            wait_until("the coordinator gives up", lambda: not is_ending(world.kafka.nodes[coordinator].data, name), 60)
            world.kafka.start(gone, timeout=120)
            time.sleep(random.uniform(0, 1.5))
            site.agent.kill()
            site.agent.start().wait_ready()
        verdict = site.auditor.verdict(timeout=150)
        print(verdict.line())
        assert verdict.clean, verdict.report()
        assert verdict.forgotten, "nothing was forgotten: nothing was tested"
        assert site.agent.stop() == 0
        site.close()
    finally:
        world.close()


@pytest.mark.seldom
@pytest.mark.parametrize("point", ["before-fence", "after-fence"])
def test_one_that_was_stopped_while_it_fenced_wakes_as_a_standby(make: SiteMaker, point: str) -> None:
    """Before: it fences the one that took over, which goes on as soon as it has come to its end. After: between its look at the
    position and its look at the slot another moves both: that is no gap."""
    site = make().init()
    site.agent.program = failpoints()
    for round_ in range(3):
        site.agent.start(env={"SLUICE_FAILPOINT": f"{point}:1:stop"})
        first, process = site.agent, psutil.Process(site.agent.running().pid)
        wait_until("it stops at the point", lambda: process.status() == psutil.STATUS_STOPPED, 30)
        second = site.twin(f"successor-{round_}").start()
        wait_until("it waits for the slot", lambda: second.http("/readyz")[1].startswith("standby"), 30)
        site.sql(f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{first.slot}' and active")
        second.wait_ready()
        site.auditor.agent = second
        with site.workload(rate=150):
            time.sleep(1)
            first.resume()
            # One that fences may try for some seconds.
            wait_until("it is a standby", lambda: (first.running().require_running(), first.http("/readyz")[1])[1].startswith("standby"), 30)
            time.sleep(2)
            assert first.running().running, f"it ended with {first.running().wait(1)}\n{first.running().tail(20)}"
            assert first.http("/readyz") == (503, "standby\n")
            assert second.running().running, f"it ended with {second.running().wait(1)}\n{second.running().tail(20)}"
        verdict = site.auditor.verdict()
        assert verdict.clean, verdict.report()
        assert first.stop() == 0 and second.stop() == 0


def test_one_that_was_stopped_while_it_made_another_producer_ends_with_4(make: SiteMaker) -> None:
    """Its producer was fenced by nobody that has the slot, and before it fences in turn another takes the slot: it must not commit."""
    site = make().init()
    site.agent.program = failpoints()
    site.agent.start(env={"SLUICE_FAILPOINT": "before-fence:2:stop"}).wait_ready()
    process = psutil.Process(site.agent.running().pid)
    with site.workload(rate=100):
        stranger = Producer({"bootstrap.servers": site.stack.kafka.brokers, "transactional.id": f"sluice.{site.agent.name}"})
        stranger.init_transactions(30)
        wait_until("it stops before it fences", lambda: process.status() == psutil.STATUS_STOPPED, 60)
        second = site.twin("successor").start()
        wait_until("it waits for the slot", lambda: second.http("/readyz")[1].startswith("standby"), 30)
        site.sql(f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{site.agent.slot}' and active")
        second.wait_ready()
        site.auditor.agent = second
        time.sleep(1)
        site.agent.resume()
        assert site.agent.running().wait(60) == 4
        time.sleep(2)
        assert second.running().running, f"it ended with {second.running().wait(1)}\n{second.running().tail(20)}"
    verdict = site.auditor.verdict()
    assert verdict.clean, verdict.report()
    assert second.stop() == 0


def test_a_slot_that_knows_more_than_kafka_is_seen(make: SiteMaker) -> None:
    """C4: what a thread of every campaign looks at again and again."""
    site = make().init().run()
    ladder = Ladder(site).start()
    try:
        with site.workload(rate=100):
            wait_until("it has looked", lambda: ladder.looks > 20, 30)
        site.auditor.wait_kafka()
        assert ladder.finding is None
        # In order: a transaction that it left open would hold up what can be read.
        assert site.agent.stop() == 0
        site.sql("insert into public.documents values (0, 'x', null, null)")

        def advance() -> bool:
            with suppress(psycopg.errors.ObjectInUse):  # its walsender may not have noticed yet
                site.sql(f"select pg_replication_slot_advance('{site.agent.slot}', pg_current_wal_lsn())")
                return True
            return False
        wait_until("the slot is free", advance, 20)
        wait_until("it is seen", lambda: ladder.finding, 20)
        assert ladder.finding is not None and "the slot had confirmed" in ladder.finding
    finally:
        ladder.stop()


def test_a_ladder_that_saw_nothing_is_a_finding() -> None:
    """Its looks may fail while a server is away: not all of them."""
    def refuse(_: str) -> None:
        raise psycopg.OperationalError("no route\nto it")
    agent = SimpleNamespace(slot="s", name="t", progress_topic="p")
    ladder = Ladder(SimpleNamespace(agent=agent, database="t", stack=SimpleNamespace(postgres=SimpleNamespace(connect=refuse))))  # type: ignore[arg-type]
    ladder.start()
    try:
        wait_until("it has tried", lambda: ladder.failed.total() > 1, 20)
    finally:
        ladder.stop()
    [found] = ladder.unseen(1)
    assert "only 0 looks" in found and " x OperationalError: no route" in found and ladder.finding is None
    ladder.looks = 1
    assert not ladder.unseen(1)


def test_a_sink_that_stopped_is_seen_although_its_process_goes_on(tmp_path: Path) -> None:
    """Beside a stream the process lives, and a restart would hide it; alone it is the process's end that tells."""
    site = SimpleNamespace(agents=[])
    made = lambda label: Agent(tmp_path, {"name": "t"}, label=label)  # noqa: E731
    site.agent = made("agent")
    site.twin = lambda label: site.agents.append(made(label)) or site.agents[-1]
    site.agents.append(site.agent)
    crew = Crew(site, "apart", None)  # type: ignore[arg-type]
    line = '2026-11-27T02:35:08.346Z ERROR the sink has stopped error="the log ends at offset 0"'
    dropped = "2026-11-27T02:35:08.346Z WARN  dropped a record that is in an object already topic=t"
    crew.sink.log.write_text(f"{line}\n")
    crew.main.log.write_text(f"{dropped}\n{line}")
    crew.read_logs()
    assert len(crew.dropped) == 1 and crew.unseen() and "the sink of sink" in crew.unseen()[0]
    crew.unavailable["sink"] += 1
    assert not crew.unseen()
    with crew.main.log.open("a") as log:
        log.write("\n")
    with pytest.raises(Finding, match="the sink of agent stopped for good"):
        crew.read_logs()


def test_a_seed_gives_the_same_faults_again() -> None:
    kinds = list(KINDS)
    cards = deck(kinds, 200, random.Random(7))
    assert cards == deck(kinds, 200, random.Random(7)) != deck(kinds, 200, random.Random(8))
    assert set(cards[: len(kinds)]) == set(kinds) and len(cards) == 200


def test_a_release_knows_no_failpoints() -> None:
    program = failpoints()
    assert program is not None
    names = {name.decode() for name in re.findall(rb"failpoint-((?:before|after)-[a-z]+)", program.read_bytes())}
    assert names == {*STREAM_POINTS, *SINK_POINTS}, "the campaign knows every name that the code has"
    if binary() == program or binary().parent.name == "debug":
        pytest.fail("this needs the release build: swift build -c release --static-swift-stdlib --product sluice")
    assert b"failpoint-" not in binary().read_bytes()
