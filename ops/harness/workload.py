"""Write load: many small transactions and some large ones, over several tables and connections.

Every kind of change that the agent must carry is in it: inserts, upserts, updates, deletes, changed keys, unchanged
TOAST, a composite key, savepoints that are rolled back, transactions that are rolled back, and a table that is not
published. A wide load also truncates, writes logical messages, and has tables with replica identity FULL and INDEX and a
partitioned one. A seed decides what each connection does; how the connections interleave is the server's business.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

import psycopg

from .oracle.source import Table
from .source_clock import SourceClock

GOLD = """
create table if not exists public.{name} (
  "Data_Base" date not null,
  "Tipo" text not null,
  qtde_registros bigint,
  compra_manha_media double precision,
  venda_manha_media double precision,
  pu_compra_manha_media double precision,
  pu_venda_manha_media double precision,
  pu_base_manha_media double precision,
  percentual_diferenca_compra_venda double precision,
  primary key ("Data_Base", "Tipo"))
"""
OTHERS = """
create table if not exists public.documents (id bigint primary key, title text, body text, at timestamptz);
alter table public.documents alter body set storage external;
create table if not exists public.positions (account integer, bond text, day date, amount numeric(18,4), ok boolean, raw bytea,
  primary key (day, account, bond));
create table if not exists public.unpublished (id bigint primary key, v text);
"""
GOLD_TABLES: list[Table] = [("public", "dadostesouroipca_gold"), ("public", "dadostesouropre_gold")]
TABLES: list[Table] = [*GOLD_TABLES, ("public", "documents"), ("public", "positions")]
WIDE = """
create table if not exists public.switches (id bigint primary key, v text);
create table if not exists public.ledger (id bigint primary key, v text, note text);
alter table public.ledger alter note set storage external, replica identity full;
create table if not exists public.badges (id bigint primary key, v text, code text not null, area integer not null);
create unique index if not exists badges_code on public.badges (code, area);
alter table public.badges replica identity using index badges_code;
create table if not exists public.readings (id bigint, day date, v text, primary key (day, id)) partition by range (day);
create table if not exists public.readings_old partition of public.readings for values from (minvalue) to ('2026-01-01');
create table if not exists public.readings_new partition of public.readings for values from ('2026-01-01') to (maxvalue);
"""
WIDE_TABLES: list[Table] = [*TABLES, ("public", "switches"), ("public", "ledger"), ("public", "badges"), ("public", "readings")]
_PARTITIONS: list[Table] = [("public", "readings_old"), ("public", "readings_new")]

Connect = Callable[[], psycopg.Connection[tuple]]


def create_tables(connection: psycopg.Connection[tuple], owner: str | None = None, gold_only: bool = False, wide: bool = False) -> None:
    for _, name in GOLD_TABLES:
        connection.execute(GOLD.format(name=name))
    if not gold_only:
        connection.execute(OTHERS)
    if wide:
        connection.execute(WIDE)
    if owner is not None:
        known = [*WIDE_TABLES, *_PARTITIONS] if wide else TABLES
        for schema, name in GOLD_TABLES if gold_only else [*known, ("public", "unpublished")]:
            connection.execute(f"alter table {schema}.{name} owner to {owner}")


@dataclass
class Workload:
    """`start`, then `stop`. Connections that break are made anew until then: a server may be killed under it."""

    connect: Connect
    seed: int = field(default_factory=lambda: random.SystemRandom().randrange(1 << 30))
    connections: int = 3
    rate: float = 120  # transactions a second, all connections together
    large_every: int = 400  # of a connection's transactions, one in so many is large
    large_rows: int = 3_000
    counts: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    failure: BaseException | None = None
    clock: SourceClock | None = None  # none: commit times are the server's
    wide: bool = False

    def start(self) -> Workload:
        print(f"workload: seed {self.seed}, {self.connections} connections, {self.rate:.0f} transactions/s")
        for number in range(self.connections):
            thread = threading.Thread(target=self._run, args=(number,), daemon=True, name=f"workload-{number}")
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self, timeout: float = 60) -> Counter[str]:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout)
            if thread.is_alive():
                raise TimeoutError(f"{thread.name} does not end")
        self.check()
        return self.counts

    def check(self) -> None:
        """Raises what has ended a connection's work."""
        if self.failure is not None:
            raise RuntimeError(f"the load failed (seed {self.seed})") from self.failure

    def __enter__(self) -> Workload:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def _run(self, number: int) -> None:
        script = Script(random.Random(self.seed * 1009 + number), number, self.large_every, self.large_rows, self.clock, self.wide)
        connection: psycopg.Connection[tuple] | None = None
        pause = self.connections / self.rate
        due = time.monotonic()
        try:
            while not self._stop.is_set():
                due = max(due + pause, time.monotonic() - 1)
                try:
                    if connection is None or connection.closed:
                        connection = self.connect()
                        if self.clock is not None:
                            self.clock.attach(connection, number)
                    self._count(script.transaction(connection))
                except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                    if not explained(error, connection):
                        raise
                    # Go on as an application would.
                    self._count("broken")
                    if connection is not None:
                        connection.close()
                    connection = None
                    self._stop.wait(0.1)
                self._stop.wait(max(0.0, due - time.monotonic()))
        except BaseException as error:  # a fault of the load itself must fail the test
            self.failure = error
        finally:
            if connection is not None:
                connection.close()


def explained(error: psycopg.Error, connection: psycopg.Connection[tuple] | None) -> bool:
    """Whether a fault of a campaign explains it: a connection that is lost or refused, a server that is killed, shutting down or
    starting (class 57), a deadlock, or the origin of a connection that was lost and whose session has not ended."""
    if error.sqlstate is None:
        return connection is None or connection.closed
    return error.sqlstate[:2] in ("57", "08") or error.sqlstate in ("40P01", "55006")


@dataclass
class Script:
    """What one connection does: one transaction a call, with the name of its kind."""

    random: random.Random
    number: int
    large_every: int
    large_rows: int
    clock: SourceClock | None = None
    wide: bool = False
    done: int = 0
    next_id: int = 0

    def transaction(self, c: psycopg.Connection[tuple]) -> str:
        self.done += 1
        if self.large_every and self.done % self.large_every == self.large_every // 2:
            kind = "large"
        elif self.wide and self.random.random() < 0.2:
            kind = self.random.choices(["switch", "ledger", "badge", "reading", "message"], [1, 6, 6, 6, 2])[0]
        else:
            kind = self.random.choices(["batch", "mixed", "savepoint", "rollback", "elsewhere", "touch"], [5, 6, 2, 1, 1, 2])[0]
        try:
            with c.transaction():
                getattr(self, f"_{kind}")(c)
                if self.clock is not None:
                    # As near to the commit as can be: a clock of others' looks at it.
                    self.clock.stamp(c, self.random.randint(1, 5) if self.random.random() < 0.02 else 0)
        except _RolledBack:
            pass
        return kind

    # Kinds

    def _batch(self, c: psycopg.Connection[tuple]) -> None:
        """A micro-batch into Gold: upserts, some of rows that are there."""
        for _ in range(self.random.randint(1, 12)):
            self._gold(c)

    def _mixed(self, c: psycopg.Connection[tuple]) -> None:
        for _ in range(self.random.randint(1, 6)):
            self.random.choice([self._gold, self._document, self._move_document, self._touch, self._position,
                                self._move_position, self._delete])(c)
        # One that comes before the first transaction of a session tells the agent's own time for the source's: not with another clock.
        if self.random.random() < 0.2 and self.clock is None:
            # Its record ends where the commit's begins.
            c.execute("select pg_logical_emit_message(false, 'load', 'outside')")

    def _savepoint(self, c: psycopg.Connection[tuple]) -> None:
        self._gold(c)
        try:
            with c.transaction():
                self._document(c)
                self._position(c)
                if self.random.random() < 0.6:
                    raise _RolledBack
        except _RolledBack:
            pass
        self._document(c)

    def _rollback(self, c: psycopg.Connection[tuple]) -> None:
        self._mixed(c)
        raise _RolledBack

    def _elsewhere(self, c: psycopg.Connection[tuple]) -> None:
        c.execute("insert into public.unpublished values (%s, 'not for us') on conflict (id) do update set v = 'again'", (self._id(),))

    def _large(self, c: psycopg.Connection[tuple]) -> None:
        account = 1_000_000 * (self.number + 1) + self.done
        c.execute("insert into public.positions select %s, 'bond ' || n, date '2026-01-01' + n %% 30, n * 1.25, n %% 2 = 0, null"
                  " from generate_series(1, %s) n on conflict do nothing", (account, self.large_rows))
        if self.random.random() < 0.5:
            c.execute("delete from public.positions where account = %s and amount < 1000", (account,))

    # Kinds of a wide load

    def _switch(self, c: psycopg.Connection[tuple]) -> None:
        for _ in range(self.random.randint(1, 3)):
            c.execute("insert into public.switches values (%s, 'on')", (self._id(),))
        if self.random.random() < 0.5:
            c.execute("truncate public.switches")
            c.execute("insert into public.switches values (%s, 'off')", (self._id(),))

    def _ledger(self, c: psycopg.Connection[tuple]) -> None:
        """Replica identity FULL: old rows are whole, with nulls and with large values."""
        note = self.random.choice([None, "", "x" * 10, "y" * 4000])
        c.execute("insert into public.ledger values (%s, %s, %s)", (self._id(), self.random.choice([None, "v"]), note))
        mine = (self.number * 1_000_000_000, (self.number + 1) * 1_000_000_000)
        one = "(select id from public.ledger where id >= %s and id < %s order by random() limit 1)"
        match self.random.randint(0, 3):
            case 0: c.execute(f"update public.ledger set v = 'w' where id = {one}", mine)
            case 1: c.execute(f"update public.ledger set id = %s where id = {one}", (self._id(), *mine))
            case 2: c.execute(f"delete from public.ledger where id = {one}", mine)

    def _badge(self, c: psycopg.Connection[tuple]) -> None:
        """Replica identity INDEX: the key is not the primary one."""
        new = self._id()
        c.execute("insert into public.badges values (%s, 'v', %s, %s)", (new, f"code {new}", self.number))
        one = "(select id from public.badges where area = %s order by random() limit 1)"
        match self.random.randint(0, 4):
            case 0: c.execute(f"update public.badges set v = v || '.' where id = {one}", (self.number,))
            case 1: c.execute(f"update public.badges set code = code || %s where id = {one}", ("'\\é", self.number))
            case 2: c.execute(f"update public.badges set id = %s where id = {one}", (self._id(), self.number))
            case 3: c.execute(f"delete from public.badges where id = {one}", (self.number,))

    def _reading(self, c: psycopg.Connection[tuple]) -> None:
        """Partitioned: rows also move from one partition to the other."""
        c.execute("insert into public.readings values (%s, date '2026-01-01' + %s, 'v')", (self._id(), self.random.randint(-9, 9)))
        known = self._known()
        match self.random.randint(0, 3):
            case 0: c.execute("update public.readings set v = v || '.' where id = %s", (known,))
            case 1: c.execute("update public.readings set day = date '2025-12-31' + %s where id = %s", (self.random.randint(0, 1), known))
            case 2: c.execute("delete from public.readings where id = %s", (known,))

    def _message(self, c: psycopg.Connection[tuple]) -> None:
        """Counted among the changes of its transaction; sometimes it is all there is."""
        c.execute("select pg_logical_emit_message(true, 'load', 'inside')")
        if self.random.random() < 0.7:
            self._position(c)
            c.execute("select pg_logical_emit_message(true, 'load', 'inside again')")
            self._document(c)

    # Changes

    def _id(self) -> int:
        self.next_id += 1
        return self.number * 1_000_000_000 + self.next_id

    def _known(self) -> int:
        return self.number * 1_000_000_000 + self.random.randint(1, max(1, self.next_id))

    def _gold(self, c: psycopg.Connection[tuple]) -> None:
        _, table = self.random.choice(GOLD_TABLES)
        # Each connection has its own years: no deadlock on shared keys, which would only slow the load.
        day = date(2000 + self.number, 1, 1) + timedelta(days=self.random.randint(0, 300))
        figures = [self.random.uniform(0, 1000) for _ in range(6)]
        c.execute(
            f'insert into public.{table} values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict ("Data_Base", "Tipo") do update set'
            " qtde_registros = excluded.qtde_registros, compra_manha_media = excluded.compra_manha_media,"
            " pu_base_manha_media = excluded.pu_base_manha_media",
            (day, self.random.choice(["IPCA", "PRE-FIXADOS", "Prefixado \"ação\""]), self.random.randint(1, 40), *figures[:5],
             None if self.random.random() < 0.1 else figures[5]))

    def _document(self, c: psycopg.Connection[tuple]) -> None:
        body = "".join(self.random.choices("abcdefghij \n\t\"\\é€😀", k=self.random.choice([10, 200, 4000])))
        c.execute("insert into public.documents values (%s, %s, %s, now()) on conflict (id) do update set title = excluded.title",
                  (self._id(), f"title {self.done}", body))

    def _touch(self, c: psycopg.Connection[tuple]) -> None:
        """An update that leaves a large value where it is: unchanged TOAST."""
        c.execute("update public.documents set title = title || '.' where id = %s", (self._known(),))

    def _move_document(self, c: psycopg.Connection[tuple]) -> None:
        new = self._id()
        c.execute("update public.documents set id = %s where id = %s and not exists (select 1 from public.documents where id = %s)",
                  (new, self._known(), new))

    def _position(self, c: psycopg.Connection[tuple]) -> None:
        c.execute("insert into public.positions values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
                  (self.number * 100 + self.random.randint(0, 40), f"NTN-{self.random.randint(1, 9)}",
                   date(2026, 1, 1) + timedelta(days=self.random.randint(0, 20)), self.random.randint(0, 10**12) / 10_000,
                   self.random.random() < 0.5, self.random.randbytes(self.random.randint(0, 20))))

    def _move_position(self, c: psycopg.Connection[tuple]) -> None:
        c.execute("update public.positions set account = account + 50 where ctid = (select ctid from public.positions"
                  " where account between %s and %s limit 1)"
                  " and not exists (select 1 from public.positions p where p.account = positions.account + 50"
                  " and p.bond = positions.bond and p.day = positions.day)", (self.number * 100, self.number * 100 + 40))

    def _delete(self, c: psycopg.Connection[tuple]) -> None:
        if self.random.random() < 0.5:
            c.execute("delete from public.documents where id = %s", (self._known(),))
        else:
            c.execute("delete from public.positions where ctid = (select ctid from public.positions where account between %s and %s"
                      " limit 1)", (self.number * 100, self.number * 100 + 90))


class _RolledBack(Exception):
    """Thrown through psycopg's transaction block to roll it back."""
