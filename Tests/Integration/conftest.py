"""Fixtures: the servers of a stack (shared), and a site of its own for every test."""

from __future__ import annotations

import json
import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "ops"))

from harness.kafka import Kafka, kafka_home  # noqa: E402
from harness.oracle.topics import read_progress  # noqa: E402
from harness.postgres import Postgres, debian_bin, wheel_bin  # noqa: E402
from harness.processes import Lab  # noqa: E402
from harness.site import STACKS, Site, Stack, make_site, start_stack  # noqa: E402

_wanted = os.environ.get("SLUICE_TEST_STACKS", ",".join(STACKS)).split(",")
_labs: list[Lab] = []


def terminated(*_: object) -> None:
    """`timeout` ends a job that takes too long: as Ctrl-C, so that fixtures end their servers, and with the test that hung. Nothing else will do:
    pytest counts SystemExit as one test's failure, and a test's `except Exception` may take its Exit. It sends the signal twice."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for made in _labs:
        made.keep = True
    raise KeyboardInterrupt(f"SIGTERM in {os.environ.get('PYTEST_CURRENT_TEST', 'no test')}")


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGTERM, terminated)
    config.addinivalue_line("markers", "only(stack): a test of something that the other stack's PostgreSQL does not have")
    config.addinivalue_line("markers", "long: collected by `ops/test --long` alone")
    config.addinivalue_line("markers", "seldom: where SLUICE_TEST_SLICE is `N/M`, only those of the Nth of M slices are collected")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What means nothing on a stack, where it would pass without having looked, or takes too long now, is not collected."""
    def fits(item: pytest.Item) -> bool:
        marker, call = item.get_closest_marker("only"), getattr(item, "callspec", None)
        if item.get_closest_marker("long") and not os.environ.get("SLUICE_TEST_LONG"):
            return False
        return marker is None or call is None or str(call.params.get("stack", "")).startswith(marker.args[0])
    chosen = set(items)
    if wanted := os.environ.get("SLUICE_TEST_SLICE"):
        number, slices = map(int, wanted.split("/"))
        # Dealt out in the order of their names' hashes: slices of one size, and neighbours in a file, alike in cost, in different ones.
        seldom = sorted((item for item in items if fits(item) and item.get_closest_marker("seldom")), key=lambda item: zlib.crc32(item.name.encode()))
        chosen -= {item for place, item in enumerate(seldom) if place % slices != number % slices}
    left_out = [item for item in items if item not in chosen or not fits(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item in chosen and fits(item)]


def pytest_report_collectionfinish(items: list[pytest.Item]) -> list[str]:
    """Which of those that take turns: a failure that the next commit does not have is not mended by it."""
    wanted = os.environ.get("SLUICE_TEST_SLICE")
    return [f"slice {wanted}: {item.name}" for item in items if wanted and item.get_closest_marker("seldom")]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Servers' data and logs: kept, and their place printed, if any test failed."""
    made = Lab("sluice-tests-")
    _labs.append(made)
    yield made
    if made.keep:
        print(f"\nlogs are kept in {made.root}")
    made.close()


@pytest.fixture(scope="session", params=[name for name in STACKS if name in _wanted])
def stack(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Stack]:
    if kafka_home() is None:
        reason = "needs Apache Kafka: set KAFKA_HOME"
        if os.environ.get("CI"):
            pytest.fail(f"{reason} (nothing is skipped in CI)")
        pytest.skip(reason)
    Kafka.creates_topics = request.param.startswith("pg15")  # one stack's brokers make a topic of which somebody asks, as Kafka's default is
    started = start_stack(request.param, lab)
    yield started
    started.stop()


SiteMaker = Callable[..., Site]
ServerMaker = Callable[..., tuple[Site, Postgres]]
DOCUMENTS = [("public", "documents"), ("public", "positions")]


@pytest.fixture
def make(stack: Stack, request: pytest.FixtureRequest, lab: Lab) -> Iterator[SiteMaker]:
    """`make(changes, tables=..., file_store=...)`: a database, a bucket and a configuration. None may leak a secret."""
    stack.heal()
    sites: list[Site] = []

    def maker(*arguments: object, **more: object) -> Site:
        sites.append(make_site(stack, *arguments, **more))  # type: ignore[arg-type]
        return sites[-1]
    yield maker
    failed = getattr(request.node, "failed", False)
    leaks: list[str] = []
    for site in sites:
        if failed:
            for agent in site.agents:
                if agent.process is not None:
                    print(f"--- {agent.log}\n{agent.process.tail(40)}")
        leaks += site.leaked_secrets()
        site.close()
    assert not leaks, f"in the logs: {leaks}"


@pytest.fixture
def site(make: SiteMaker) -> Site:
    return make()


@pytest.fixture
def little(make: SiteMaker) -> Site:
    """A site of two tables."""
    return make(tables=DOCUMENTS)


@pytest.fixture
def server(stack: Stack) -> Iterator[ServerMaker]:
    """`server(settings...)`: a cluster of its own, and a site on it. `server.more(...)`, a further cluster."""
    servers: list[Postgres] = []
    sites: list[Site] = []
    old = stack.name.startswith("pg15")

    def maker(*settings: str) -> tuple[Site, Postgres]:
        number = len(list(stack.lab.root.glob("own-*")))
        made = Postgres(stack.lab.folder(f"own-{number}") / "postgres", debian_bin() if old else wheel_bin(), f"own-{number}").create()
        servers.append(made)
        configure(made, *settings)
        made.start()
        sites.append(make_site(replace(stack, postgres=made), tables=DOCUMENTS))
        return sites[-1], made
    maker.servers = servers  # type: ignore[attr-defined]
    yield maker
    for site in sites:
        for agent in site.agents:
            if agent.process is not None and agent.process.running:
                agent.kill()
        with suppress(psycopg.Error):
            site.connection.close()
    for made in servers:
        if made.running:
            made.kill()


def insert(site: Site, *ids: int) -> None:
    for number in ids:
        site.sql(f"insert into public.documents values ({number}, 'row {number}', null, null)")


def progress(site: Site) -> dict[str, Any]:
    """The stored position, as its record has it; empty where there is none."""
    found = read_progress(site.stack.kafka.brokers, site.agent.name)
    return json.loads(found[-1].raw) if found else {}


def configure(server: Postgres, *settings: str) -> None:
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("".join(f"{setting}\n" for setting in settings))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if report.failed:
        item.failed = True  # type: ignore[attr-defined]
        if lab_in_use := getattr(item, "funcargs", {}).get("lab") or getattr(getattr(item, "funcargs", {}).get("stack"), "lab", None):
            lab_in_use.keep = True
    return report
