"""Writes a series into the Gold tables, a micro-batch a transaction, spread over a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from .series import GoldRow, Series

UPSERT = """
insert into public.{table} values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict ("Data_Base", "Tipo") do update set
  qtde_registros = excluded.qtde_registros, compra_manha_media = excluded.compra_manha_media,
  venda_manha_media = excluded.venda_manha_media, pu_compra_manha_media = excluded.pu_compra_manha_media,
  pu_venda_manha_media = excluded.pu_venda_manha_media, pu_base_manha_media = excluded.pu_base_manha_media,
  percentual_diferenca_compra_venda = excluded.percentual_diferenca_compra_venda
"""


@dataclass
class Loader:
    connect: Callable[[], psycopg.Connection[tuple]]
    batch: int
    seconds: float
    total: int = 0  # row changes, upserts of the same row counted each time: what Kafka must show
    written: int = 0
    failure: BaseException | None = None
    _batches: list[list[GoldRow]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def plan(self, series: Series) -> None:
        self._batches = list(series.batches(self.batch))
        self.total = sum(len(rows) for rows in self._batches)

    def run(self, series: Series) -> None:
        try:
            with self.connect() as connection:
                began = time.monotonic()
                for number, rows in enumerate(self._batches):
                    if self._stop.wait(max(0.0, began + number * self.seconds / len(self._batches) - time.monotonic())):
                        return
                    with connection.transaction(), connection.cursor() as cursor:
                        for table in sorted({row.table for row in rows}):
                            cursor.executemany(UPSERT.format(table=table), [row.values() for row in rows if row.table == table])
                    self.written += len(rows)
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        self._stop.set()
