"""The kinds of faults. Each breaks one thing, waits as long as the fault lasts, and puts it right; the agents put themselves right."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil
from confluent_kafka import KafkaException

from ..agent import Agent, confirmed
from ..oracle.borders import is_ending
from ..oracle.source import format_lsn
from ..oracle.topics import partitions_of, read_progress
from ..processes import NotReady
from ..site import Site
from .crew import Crew, Finding
from .proxy import Front
from .world import TRANSACTION_TIMEOUT, World

REPLACED = 4  # the exit code of an agent whose slot another has taken


@dataclass
class Scene:
    world: World
    site: Site
    crew: Crew
    random: random.Random

    def pause(self, least: float, most: float) -> None:
        """A part of a second or more, in which agents that end are started again."""
        seconds = self.random.uniform(least, most)
        with suppress(NotReady):
            self.crew.until("", lambda: False, seconds)

    def confirmed_is_stored(self) -> None:
        """C4, while nobody streams: what the slot may forget is in Kafka."""
        agent = self.crew.main
        mark = confirmed(self.site.connection, agent.slot)
        stored = read_progress(self.world.kafka.brokers, agent.name)
        if mark is None or not stored or mark > stored[-1].lsn:
            raise Finding(f"confirmed {format_lsn(mark or 0)}, stored {format_lsn(stored[-1].lsn) if stored else 'nothing'}")


Fault = Callable[[Scene], str]  # what exactly was broken


# Processes

def agent_kill(scene: Scene) -> str:
    scene.crew.main.kill()
    scene.confirmed_is_stored()
    scene.crew.start_main()
    return ""


def sink_kill(scene: Scene) -> str:
    scene.crew.sink.kill()
    scene.crew.start_sink()
    return ""


def sigterm(scene: Scene) -> str:
    crew = scene.crew
    chosen = scene.random.choice([crew.main, crew.main, crew.sink])
    code = chosen.stop(timeout=20)
    if code != 0:
        raise Finding(f"{chosen.label} answered SIGTERM with {code}; {chosen.log}:\n{chosen.running().tail(40)}")
    if chosen is crew.main:
        scene.confirmed_is_stored()
        crew.start_main()
        return "agent"
    crew.start_sink()
    return "sink"


def postgres_kill(scene: Scene) -> str:
    scene.world.postgres.kill()
    scene.pause(0, 1)
    scene.world.postgres.start()
    scene.site.reconnect()
    return ""


def _broker(scene: Scene) -> tuple[int, str]:
    """Which node: any, or the one that leads what the agents need most."""
    world, name = scene.world, scene.crew.main.name
    if len(world.kafka.nodes) == 1:
        return 0, ""
    part = scene.random.choice(["any", "transactions", "group", "progress"])
    with suppress(Exception):  # which node is the question here, not whether there is one
        match part:
            case "transactions": return world.coordinator(f"sluice.{name}", "__transaction_state"), "of the transactions"
            case "group": return world.coordinator(f"sluice.{name}", "__consumer_offsets"), "of the group"
            case "progress": return world.leader(scene.crew.main.progress_topic, 0), "of the position"
    return scene.random.randrange(len(world.kafka.nodes)), "any"


def broker_kill(scene: Scene) -> str:
    kafka = scene.world.kafka
    index, which = _broker(scene)
    kafka.kill(index)
    if len(kafka.nodes) > 1:
        scene.pause(0, 7)
    elif scene.random.random() < 0.6:
        scene.pause(0, 2)
    else:  # until the open transaction is too old when the coordinator is back
        scene.pause(TRANSACTION_TIMEOUT, TRANSACTION_TIMEOUT + 4)
    kafka.start(index, timeout=180)
    scene.world.wait_replicated()
    return which


def broker_kill_in_commit(scene: Scene) -> str:
    """A commit is decided and answered, and the broker is gone before its markers are written."""
    kafka, name = scene.world.kafka, f"sluice.{scene.crew.main.name}"
    assert len(kafka.nodes) == 1, "with replicas another broker leads, and nothing is forgotten"
    scene.world.markers[0].stall()
    try:
        scene.crew.until("a commit is decided", lambda: is_ending(kafka.nodes[0].data, name), 60)
        kafka.kill()
    finally:
        scene.world.markers[0].flow()
    which = ""
    if scene.random.random() < 0.4:
        scene.crew.main.kill()
        scene.crew.start_main()
        which = "and the agent"
    scene.pause(0, 2)
    kafka.start(timeout=180)
    return which


def broker_pause(scene: Scene) -> str:
    """Longer than the time-out of a transaction: the coordinator may have ended it when the broker goes on."""
    kafka = scene.world.kafka
    index, which = _broker(scene)
    kafka.pause(index)
    try:
        scene.pause(TRANSACTION_TIMEOUT + 0.5, TRANSACTION_TIMEOUT + 3)
    finally:
        kafka.resume(index)
    kafka.wait_ready(120)
    scene.world.wait_replicated()
    return which


def walsender_terminate(scene: Scene) -> str:
    _terminate(scene)
    return ""


def _terminate(scene: Scene) -> None:
    """Ends the walsender, once there is one."""
    def ended() -> bool:
        return scene.site.connection.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s and active",
            (scene.crew.main.slot,)).fetchall() == [(True,)]
    scene.crew.until("a walsender is ended", ended, 30)


def zombie(scene: Scene) -> str:
    scene.crew.main.pause()
    _take_over(scene, scene.crew.main, {REPLACED})
    return ""


def _take_over(scene: Scene, old: Agent, allowed: set[int | None]) -> None:
    """`old` is stopped by SIGSTOP: another takes over, rows flow, and then the old one wakes."""
    crew = scene.crew
    successor = crew.successor()
    scene.pause(0.2, 1.5)
    successor.running().require_running()
    _terminate(scene)
    crew.succeed(successor)
    crew.wait_streaming()
    scene.pause(0, 0.5)
    old.resume()
    code: int | None = None
    try:
        code = old.running().wait(30 if None not in allowed else 4)
    except NotReady:
        old.kill()
    if code not in allowed:
        raise Finding(f"the zombie {old.label} ended with {code}, not with {allowed}; {old.log}:\n{old.running().tail(60)}")


# The store

def store_kill(scene: Scene) -> str:
    front, store = scene.world.store_front, scene.world.stack.store
    before = front.hits
    store.kill()
    try:
        scene.pause(0, 1)
        _met(scene, front, before)
    finally:
        store.start()
    return ""


def store_pause(scene: Scene) -> str:
    front, store = scene.world.store_front, scene.world.stack.store
    store.pause()
    before = front.requests
    try:
        scene.pause(0.5, 4)
        scene.crew.until("a request meets the store that hangs", lambda: front.requests > before, 60)
    finally:
        store.resume()
    return ""


def _met(scene: Scene, front: Front, before: int) -> None:
    """The fault must have met something, or nothing was tested."""
    scene.crew.until("the fault meets a request", lambda: front.hits > before, 60)


def _answering(status: int) -> Fault:
    def fault(scene: Scene) -> str:
        front = scene.world.store_front
        before = front.hits
        front.answer(status, scene.random.randint(1, 4))
        _met(scene, front, before)
        return ""
    return fault


def store_cut_before(scene: Scene) -> str:
    front = scene.world.store_front
    before = front.hits
    front.cut_before(scene.random.randint(1, 3))
    _met(scene, front, before)
    return ""


def store_cut_after(scene: Scene) -> str:
    front = scene.world.store_front
    before = front.hits
    front.cut_after(scene.random.randint(1, 3))
    _met(scene, front, before)
    return ""


# The network

def _front(scene: Scene) -> tuple[Front, str]:
    where = scene.random.choice(["postgres", "kafka", "store"])
    match where:
        case "postgres": return scene.world.postgres_front, where
        case "kafka": return scene.random.choice(scene.world.kafka_fronts), where
    return scene.world.store_front, where


def net_stall(scene: Scene) -> str:
    front, where = _front(scene)
    before = front.hits
    front.stall()
    try:
        if scene.random.random() < 0.15:
            scene.pause(TRANSACTION_TIMEOUT + 1, TRANSACTION_TIMEOUT + 2)
        else:
            scene.pause(0.3, 4)
        _met(scene, front, before)
        if scene.random.random() < 0.4:
            front.reset()
            where += ", then reset"
    finally:
        front.flow()
    return where


def net_reset(scene: Scene) -> str:
    front, where = _front(scene)
    before = front.hits
    for _ in range(scene.random.randint(1, 3)):
        scene.crew.until("there is a connection", lambda: front.links > 0, 60)
        front.reset()
        scene.pause(0, 0.3)
    _met(scene, front, before)
    return where


def net_half_reply(scene: Scene) -> str:
    front, where = _front(scene)
    before = front.hits
    front.halve(scene.random.randint(1, 3))
    _met(scene, front, before)
    return where


# Named points in the code (a build with SLUICE_FAILPOINTS=1)

STREAM_POINTS = {"before-produce": 300, "after-produce": 300, "before-position": 20, "after-position": 20, "before-commit": 20, "after-commit": 20,
                 "before-confirm": 5, "after-confirm": 5, "before-fence": 1, "after-fence": 1}
SINK_POINTS = {"before-put": 6, "after-put": 6, "before-offset": 4, "after-offset": 4}


def failpoint(scene: Scene) -> str:
    """The process dies at the point, by its own hand."""
    crew = scene.crew
    point = scene.random.choice([*STREAM_POINTS, *SINK_POINTS])
    is_stream = point in STREAM_POINTS
    count = scene.random.randint(1, {**STREAM_POINTS, **SINK_POINTS}[point])
    env = {"SLUICE_FAILPOINT": f"{point}:{count}:exit"}
    agent = _restarted(scene, is_stream, env)
    crew.until(f"the agent dies at {env}", lambda: not agent.running().running, 90, tending=False)
    code = agent.running().wait(5)
    if code != -signal.SIGKILL:
        raise Finding(f"{agent.label} ended with {code} instead of at {env}; {agent.log}:\n{agent.running().tail(40)}")
    if is_stream:
        scene.confirmed_is_stored()
        crew.start_main()
    else:
        crew.start_sink()
    return point


def failpoint_zombie(scene: Scene) -> str:
    """The process stops at the point; meanwhile another goes on in its place; then it wakes."""
    crew = scene.crew
    point = scene.random.choice([*STREAM_POINTS, "before-put", "after-put"])
    is_stream = point in STREAM_POINTS
    count = scene.random.randint(1, {**STREAM_POINTS, **SINK_POINTS}[point])
    env = {"SLUICE_FAILPOINT": f"{point}:{count}:stop"}
    agent = _restarted(scene, is_stream, env)
    crew.until(f"the agent stops at {env}",
               lambda: psutil.Process(agent.running().pid).status() == psutil.STATUS_STOPPED, 90, tending=False)
    if is_stream:
        # One that has never streamed is no zombie: it waits as a standby.
        _take_over(scene, agent, {REPLACED, None} if "fence" in point else {REPLACED})
    else:
        crew.until("another has the partitions of the one that is stopped", lambda: _taken_over(scene), 60)
        scene.pause(0, 1)
        agent.resume()
    return point


def _taken_over(scene: Scene) -> bool:
    """Whether the group has one member, and that all partitions. Of two sinks, in either layout, one is stopped."""
    group = f"sluice.{scene.crew.main.name}"
    admin = scene.world.kafka.admin()  # answers as long as it is held
    try:
        found = admin.describe_consumer_groups([group], request_timeout=5)[group].result(5)
        counts = partitions_of(scene.world.kafka.brokers, scene.site.auditor.topics)
    except (KafkaException, TimeoutError):
        return False
    held = [len(member.assignment.topic_partitions) for member in found.members]
    return len(held) == 1 and held[0] >= sum(counts.values())


def _restarted(scene: Scene, is_stream: bool, env: dict[str, str]) -> Agent:
    crew = scene.crew
    if is_stream:
        crew.main.kill()
        crew.start_main(env)
        return crew.main
    crew.sink.kill()
    crew.start_sink(env)
    return crew.sink


@dataclass(frozen=True)
class Kind:
    fault: Fault
    side: str  # stream, sink: which of the two must be at work before the fault
    weight: int = 4


KINDS: dict[str, Kind] = {
    "agent-kill": Kind(agent_kill, "stream"),
    "sink-kill": Kind(sink_kill, "sink"),
    "sigterm": Kind(sigterm, "stream"),
    "postgres-kill": Kind(postgres_kill, "stream"),
    "broker-kill": Kind(broker_kill, "stream", 1),
    "broker-kill-in-commit": Kind(broker_kill_in_commit, "stream", 1),
    "broker-pause": Kind(broker_pause, "stream", 1),
    "walsender-terminate": Kind(walsender_terminate, "stream"),
    "zombie": Kind(zombie, "stream", 2),
    "store-kill": Kind(store_kill, "sink"),
    "store-pause": Kind(store_pause, "sink"),
    "store-500": Kind(_answering(500), "sink"),
    "store-503": Kind(_answering(503), "sink"),
    "store-cut-before": Kind(store_cut_before, "sink"),
    "store-cut-after": Kind(store_cut_after, "sink"),
    "net-stall": Kind(net_stall, "stream"),
    "net-reset": Kind(net_reset, "stream"),
    "net-half-reply": Kind(net_half_reply, "stream"),
    "failpoint": Kind(failpoint, "stream"),
    "failpoint-zombie": Kind(failpoint_zombie, "stream", 2),
}
POINTS = {"failpoint", "failpoint-zombie"}
LONELY = {"broker-kill-in-commit"}  # kinds that need a broker without replicas


def deck(kinds: list[str], faults: int, source: random.Random) -> list[str]:
    """Every kind before any comes again beyond its weight, in an order that the seed gives."""
    cards: list[str] = []
    while len(cards) < faults:
        rest = {kind: KINDS[kind].weight for kind in kinds}
        while rest and len(cards) < faults:
            hand = list(rest)
            source.shuffle(hand)
            cards += hand[: faults - len(cards)]
            rest = {kind: left - 1 for kind, left in rest.items() if left > 1}
    return cards


