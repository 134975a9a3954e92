"""A clock of the source's own: it began days ago and goes faster than ours, so that hours pass while a test runs (C6).

Two things tell an agent what time it is at the source: the commit times, which a replication origin may set, and the server's
clock, which it asks for. Here both are of one clock. Some transactions go back by hours: their rows are late, and their
commit times say so to the oracle, in their microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from .processes import wait_until

SPEED = 240  # an hour takes 15 seconds
BEGAN = timedelta(days=10)  # ago: it never comes to our own time
# How long an hour is left open (`s3.seal_after`). Five seconds of ours: no commit may come later than that after its time was set.
GRACE = timedelta(minutes=20)

_ON_TIME, _LATE = 0, 7  # microseconds past a millisecond


def is_late(commit_us: int) -> bool:
    """Whether a transaction went back on purpose."""
    return commit_us % 1000 == _LATE


@dataclass(frozen=True)
class SourceClock:
    """One database's, for superusers. The load's connections have an origin each: it is one session's at a time."""

    database: str

    @property
    def grace_us(self) -> int:
        return GRACE // timedelta(microseconds=1)

    def install(self, connection: psycopg.Connection[tuple]) -> SourceClock:
        """The server's own function steps aside: names that are qualified find this one."""
        now = datetime.now(UTC)
        base = now.replace(minute=0, second=0, microsecond=0) - BEGAN
        connection.execute("alter function pg_catalog.clock_timestamp() rename to clock_of_the_machine")
        # Late rows are of no hour before the first: that one nobody has to seal who does not have the topic's first partition.
        connection.execute(f"create function pg_catalog.clock_began() returns timestamptz immutable language sql as"
                           f" $$ select timestamptz '{base.isoformat()}' $$")
        connection.execute(
            "create function pg_catalog.clock_timestamp() returns timestamptz language sql volatile as $$ select"
            f" timestamptz '{base.isoformat()}' + {SPEED} * (pg_catalog.clock_of_the_machine() - timestamptz '{now.isoformat()}') $$")
        return self

    def _origin(self, number: int) -> str:
        return f"load_{self.database}_{number}"

    def attach(self, connection: psycopg.Connection[tuple], number: int) -> None:
        """Fails as long as the session before, of a connection that was lost, has not ended."""
        name = self._origin(number)
        connection.execute("select pg_replication_origin_create(%s) where pg_replication_origin_oid(%s) is null", (name, name))
        connection.execute("select pg_replication_origin_session_setup(%s)", (name,))

    def stamp(self, connection: psycopg.Connection[tuple], hours_back: int = 0) -> None:
        """Sets the commit time of the transaction that is open: now, or late."""
        connection.execute("select pg_replication_origin_xact_setup('0/1', date_trunc('milliseconds',"
                           " greatest(clock_timestamp() - %s, clock_began())) + %s)",
                           (timedelta(hours=hours_back), timedelta(microseconds=_LATE if hours_back else _ON_TIME)))

    def drop(self, connection: psycopg.Connection[tuple]) -> None:
        """The server has room for few origins."""
        def gone() -> bool:
            connection.execute("select pg_replication_origin_drop(roname) from pg_replication_origin where starts_with(roname, %s)",
                               (self._origin(0)[:-1],))
            return True
        wait_until("the load's origins are dropped", gone, 20, pause=0.2)
