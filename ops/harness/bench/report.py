"""The results as JSON, a table, and bars."""

from __future__ import annotations

import json
from pathlib import Path

from .measure import Series


def table(series: list[Series], reference: Series) -> str:
    lines = ["| what | rows/s | of pg_recvlogical over TCP | CPU s per 1M rows | peak resident MB |", "|---|---|---|---|---|"]
    for one in series:
        lines.append(f"| {one.name} | {one.rate:,.0f} | {one.rate / reference.rate:.2f} | {one.cpu_per_million:.2f} | {one.peak_megabytes:.0f} |")
    return "\n".join(lines)


def svg(series: list[Series]) -> str:
    """A bar a subject; the longest is as wide as the picture."""
    height, width, label = 26, 560, 250
    most = max(one.rate for one in series)
    rows = []
    for index, one in enumerate(series):
        y, length = 10 + index * height, one.rate / most * width
        colour = "#2b6cb0" if one.name.startswith("sluice") else "#a0aec0"
        rows.append(f'<text x="{label - 8}" y="{y + 14}" text-anchor="end">{one.name}</text>'
                    f'<rect x="{label}" y="{y}" width="{length:.0f}" height="18" rx="2" fill="{colour}"/>'
                    f'<text x="{label + length + 6:.0f}" y="{y + 14}">{one.rate:,.0f} rows/s, {one.cpu_per_million:.1f} CPU s</text>')
    total = 20 + len(series) * height
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{label + width + 220}" height="{total}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(rows)}</svg>\n')


def write(folder: Path, series: list[Series], reference: Series, facts: dict[str, str]) -> None:
    (folder / "results.json").write_text(json.dumps({
        "facts": facts,
        "series": [{"name": one.name, "rows": one.rows, "rows_per_second": round(one.rate), "cpu_seconds_per_million": round(one.cpu_per_million, 3),
                    "peak_megabytes": round(one.peak_megabytes, 1), "seconds": [round(cost.seconds, 3) for cost in one.costs]} for one in series],
    }, indent=1) + "\n")
    (folder / "results.svg").write_text(svg(series))
    (folder / "results.md").write_text("\n".join(f"{key}: {value}  " for key, value in facts.items()) + "\n\n" + table(series, reference) + "\n")
