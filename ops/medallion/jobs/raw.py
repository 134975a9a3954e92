"""Raw: fills the landing folder. Every file appears whole, under a name that ends in the UTC time of its collection.

  raw.py official FILE...        the official history (CSV or CSV.gz) as JSON lines, its strings as published
  raw.py service FILE|TAR...     snapshots of the Treasury's service, as they are
  raw.py fetch                   downloads the official file, if it changed since the last time
  raw.py generate                makes a series, labelled GENERATED, where no real data can be had

All take --landing FOLDER (default: MEDALLION_LANDING).
"""

import argparse
import csv
import datetime
import gzip
import hashlib
import io
import json
import os
import random
import re
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

OFFICIAL = ("https://www.tesourotransparente.gov.br/ckan/dataset/df56aa42-484a-4a59-8184-7676580c81e3"
            "/resource/796d2059-14e9-44e3-80c9-2d9e30b405c1/download/PrecoTaxaTesouroDireto.csv")
COLUMNS = ["Tipo Titulo", "Data Vencimento", "Data Base", "Taxa Compra Manha", "Taxa Venda Manha",
           "PU Compra Manha", "PU Venda Manha", "PU Base Manha"]


def land(landing: Path, name: str, data: bytes) -> Path:
    """Writes under a hidden name, which Spark does not list, and renames: nobody reads half a file."""
    landing.mkdir(parents=True, exist_ok=True)
    part, path = landing / f".{name}.part", landing / name
    part.write_bytes(data)
    part.replace(path)
    return path


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def official_lines(data: bytes) -> tuple[list[dict], datetime.datetime]:
    """The rows as published, and the day after the last base date among them, as the least time of collection."""
    text = data.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text), delimiter=";"))
    if not rows or rows[0] != COLUMNS:
        raise ValueError(f"the header is not the official file's: {rows[:1]}")
    lines = [dict(zip(COLUMNS, row)) for row in rows[1:] if row]
    if lines and not text.endswith("\n"):
        lines[-1]["_cut"] = True
    days = [datetime.datetime.strptime(line["Data Base"], "%d/%m/%Y") for line in lines
            if re.fullmatch(r"\d\d/\d\d/\d{4}", line.get("Data Base", ""))]
    return lines, max(days, default=datetime.datetime(1970, 1, 1)) + datetime.timedelta(days=1)


def official(landing: Path, name: str, data: bytes, collected: datetime.datetime | None = None) -> None:
    """One file a year of base dates, so that a file is a small unit of work and an unchanged year is known by its content."""
    lines, least = official_lines(data)
    stamp = re.search(r"\d{8}T\d{6}Z", name)
    when = stamp.group() if stamp else (collected or least).strftime("%Y%m%dT%H%M%SZ")
    years: dict[str, list[dict]] = {}
    for line in lines:
        years.setdefault(line.get("Data Base", "")[6:10] or "none", []).append(line)
    for year, some in sorted(years.items()):
        body = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in some).encode()
        path = land(landing, f"official_{year}_{hashlib.sha256(body).hexdigest()[:8]}_{when}.jsonl", body)
        print(f"{path.name}: {len(some)} rows")


def service(landing: Path, path: Path) -> None:
    if path.suffix == ".json":
        land(landing, path.name, path.read_bytes())
        return
    with tarfile.open(path) as tar:
        members = [member for member in tar if member.isfile()]
        for member in members:
            file = tar.extractfile(member)
            if file is not None:
                land(landing, Path(member.name).name, file.read())
    print(f"{path.name}: {len(members)} snapshots")


def fetch(landing: Path, url: str) -> None:
    """Asks with the validators of the last answer, so that an unchanged file costs one small request."""
    state = landing / "_fetch.json"
    known = json.loads(state.read_text()) if state.exists() else {}
    request = urllib.request.Request(url, headers={"User-Agent": "medallion"})
    for header, value in known.items():
        request.add_header(header, value)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            data, headers = answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        if error.code != 304:
            raise
        print("unchanged")
        return
    # A download that ends early raises IncompleteRead above where the length is known.
    official(landing, "official", data, datetime.datetime.now(datetime.timezone.utc))
    validators = {"If-None-Match": headers.get("ETag"), "If-Modified-Since": headers.get("Last-Modified")}
    state.write_text(json.dumps({key: value for key, value in validators.items() if value}))


def generate(landing: Path, days: int, seed: int) -> None:
    """A random walk with the shape of the official file. The label is in the name of every file and in no real one."""
    chance = random.Random(seed)
    day, rows = datetime.date(2024, 1, 1), []
    comma = "{:.2f}".format
    for _ in range(days):
        day += datetime.timedelta(days=3 if day.weekday() == 4 else 1)
        for title, base in (("Tesouro IPCA+", 6.0), ("Tesouro Prefixado", 12.0)):
            for year in (2029, 2035, 2045):
                rate = base + chance.gauss(0, 0.2)
                price = 1000 / (1 + rate / 100) ** (year - day.year)
                rows.append([title, f"15/05/{year}", day.strftime("%d/%m/%Y")] + [
                    comma(value).replace(".", ",") for value in (rate, rate + 0.12, price, price * 0.99, price * 0.989)])
    body = "".join(json.dumps(dict(zip(COLUMNS, row)), separators=(",", ":")) + "\n" for row in rows).encode()
    stamp = (day + datetime.timedelta(days=1)).strftime("%Y%m%dT000000Z")
    print(f"{land(landing, f'GENERATED_seed{seed}_{stamp}.jsonl', body).name}: {len(rows)} generated rows, not real prices")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["official", "service", "fetch", "generate"])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--landing", type=Path, default=os.environ.get("MEDALLION_LANDING"))
    parser.add_argument("--collected", type=lambda text: datetime.datetime.strptime(text, "%Y%m%dT%H%M%SZ"),
                        help="when the files were collected, where their names do not say: 20250504T202111Z")
    parser.add_argument("--url", default=OFFICIAL)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_intermixed_args()
    if given.landing is None:
        parser.error("--landing or MEDALLION_LANDING is needed")
    landing = Path(str(given.landing).removeprefix("file://"))
    match given.step:
        case "official":
            for path in given.files:
                official(landing, path.name, unpacked(path), given.collected)
        case "service":
            for path in given.files:
                service(landing, path)
        case "fetch":
            fetch(landing, given.url)
        case "generate":
            generate(landing, given.days, given.seed)


if __name__ == "__main__":
    main()
