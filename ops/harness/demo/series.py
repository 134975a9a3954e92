"""Gold rows for the demo: aggregated from real Treasury prices where a data folder is given, else made up and labelled so."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import fmean

HISTORY = "historico/uniao_2002_2025_ipca_pre.csv.gz"
# Title in the official file -> Gold table, and the value of "Tipo" there.
TITLES = {"Tesouro IPCA+": ("dadostesouroipca_gold", "IPCA"), "Tesouro Prefixado": ("dadostesouropre_gold", "PRE-FIXADOS")}


FIGURES = ("Taxa Compra Manha", "Taxa Venda Manha", "PU Compra Manha", "PU Venda Manha", "PU Base Manha")


@dataclass(frozen=True, slots=True)
class GoldRow:
    """A day of one kind of bond over all its maturities: means of the morning's rates and prices."""

    table: str
    day: date
    kind: str
    count: int
    buy_rate: float | None
    sell_rate: float | None
    buy_price: float | None
    sell_price: float | None
    base_price: float | None
    spread_percent: float | None  # mean over the maturities of (selling - buying) / buying rate

    def values(self) -> tuple[object, ...]:
        return (self.day, self.kind, self.count, self.buy_rate, self.sell_rate, self.buy_price, self.sell_price, self.base_price,
                self.spread_percent)


@dataclass(frozen=True)
class Series:
    label: str
    credit: str
    rows: list[GoldRow]  # by day: the order in which the days' batches arrived

    def batches(self, size: int) -> Iterator[list[GoldRow]]:
        """Micro-batches as the pipeline upstream writes them: each repeats the last rows of the one before (an upsert)."""
        for start in range(0, len(self.rows), size):
            yield self.rows[max(0, start - size // 10) : start + size]


def _number(text: str) -> float | None:
    """`1.234,56` is not in these files: a decimal comma, no thousands. Empty is missing, and stays so."""
    return float(text.replace(",", ".")) if text.strip() else None


def _spread(buy: float | None, sell: float | None) -> float | None:
    return None if buy is None or sell is None or buy == 0 else (sell - buy) / buy * 100


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def from_history(folder: Path) -> Series:
    """One Gold row for each day and kind of bond."""
    groups: dict[tuple[date, str], list[list[float | None]]] = defaultdict(list)
    with gzip.open(folder / HISTORY, "rt", encoding="utf-8", newline="") as text:
        for line in csv.DictReader(text, delimiter=";"):
            title = line["Tipo Titulo"]
            if title in TITLES:
                day = datetime.strptime(line["Data Base"], "%d/%m/%Y").date()
                figures = [_number(line[column]) for column in FIGURES]
                groups[(day, title)].append([*figures, _spread(figures[0], figures[1])])
    rows = [GoldRow(TITLES[title][0], day, TITLES[title][1], len(found), *(_mean(list(column)) for column in zip(*found)))
            for (day, title), found in sorted(groups.items())]
    return Series(f"real Treasury bonds, {rows[0].day} to {rows[-1].day}",
                  "source: Tesouro Nacional / Tesouro Transparente, Brazil", rows)


def generated(days: int = 2500, seed: int = 7) -> Series:
    """A series of the same shape, clearly not real: it begins in 2100."""
    draw = random.Random(seed)
    rows = []
    for number in range(days):
        day = date(2100, 1, 1) + timedelta(days=number)
        for title, level in (("Tesouro IPCA+", 6.0), ("Tesouro Prefixado", 12.0)):
            rate = level + math.sin(number / 90) + draw.gauss(0, 0.05)
            price = 1000 / (1 + rate / 100) ** 3
            table, kind = TITLES[title]
            rows.append(GoldRow(table, day, kind, draw.randint(3, 12), rate, rate + 0.08, price, price - 2, price - 2.2,
                                _spread(rate, rate + 0.08)))
    return Series("GENERATED rows (not real: pass --data DIR for a real series)", "", rows)
