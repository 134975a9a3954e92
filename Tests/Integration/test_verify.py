"""What `verify` says where it cannot compare, or must wait. What it finds stands in the tests of what it finds it of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from conftest import ServerMaker

from harness.agent import Agent, Done
from harness.processes import wait_until
from harness.site import Site


@contextmanager
def verifying(agent: Agent, *arguments: str) -> Iterator[Future[Done]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(agent.command, "verify", *arguments, timeout=180)


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
