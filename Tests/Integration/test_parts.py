"""The parts of demo and harness that no server is needed for."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import urllib.error
from pathlib import Path

import pytest

from harness.agent import merge, yaml
from harness.demo.broker import ARCHIVE, DownloadFailed, download, parse_sha512
from harness.demo.series import HISTORY, from_history, generated
from harness.summary import count, reported

PRICES = """Tipo Titulo;Data Vencimento;Data Base;Taxa Compra Manha;Taxa Venda Manha;PU Compra Manha;PU Venda Manha;PU Base Manha
Tesouro IPCA+;15/05/2015;18/07/2005;8,74;8,80;675,19;671,56;671,25
Tesouro IPCA+;15/08/2024;18/07/2005;8,81;8,89;308,19;303,91;303,77
Tesouro Selic;15/08/2024;18/07/2005;8,81;8,89;308,19;303,91;303,77
Tesouro Prefixado;07/01/2004;18/03/2002;0,00;19,87;720,96;719,87;
"""


def test_gold_rows_are_those_of_the_original_pipeline(tmp_path: Path) -> None:
    file = tmp_path / HISTORY
    file.parent.mkdir()
    file.write_bytes(gzip.compress(PRICES.encode()))
    early, late = from_history(tmp_path).rows
    # The original author's Gold message of that day, but for its count: there the two prices came twice.
    assert late.values()[1:3] == ("IPCA", 2)
    assert late.values()[3:] == pytest.approx((8.775, 8.845, 491.69000000000005, 487.735, 487.51, 0.797278939835898), rel=1e-14)
    assert late.table == "dadostesouroipca_gold" and late.day.isoformat() == "2005-07-18"
    assert early.base_price is None and early.spread_percent is None and early.table == "dadostesouropre_gold"


def test_batches_repeat_rows_as_upserts_do() -> None:
    series = generated(days=50)
    batches = list(series.batches(20))
    assert {row for batch in batches for row in batch} == set(series.rows)
    assert sum(map(len, batches)) > len(series.rows) and "GENERATED" in series.label


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as out:
        info = tarfile.TarInfo(f"{ARCHIVE.removesuffix('.tgz')}/bin/kafka-server-start.sh")
        out.addfile(info, io.BytesIO())
    return packed.getvalue()


def test_download_is_checked(tmp_path: Path) -> None:
    body = archive()
    digest = hashlib.sha512(body).hexdigest().upper()
    said = f"{ARCHIVE}: {digest[:64]}\n  {digest[64:]}\n".encode()
    home = download(tmp_path / "good", lambda _: None, lambda url, _: said if url.endswith(".sha512") else body)
    assert (home / "bin" / "kafka-server-start.sh").exists()
    with pytest.raises(DownloadFailed, match="SHA-512"):
        download(tmp_path / "bad", lambda _: None, lambda url, _: said if url.endswith(".sha512") else body + b"x")
    assert not (tmp_path / "bad").exists()

    def nothing(url: str, _: float) -> bytes:
        raise urllib.error.URLError("no network")
    with pytest.raises(DownloadFailed, match="no network"):
        download(tmp_path / "none", lambda _: None, nothing)
    with pytest.raises(DownloadFailed):
        parse_sha512("file: not hex")
    assert parse_sha512("ab" * 64 + "  file\n") == "ab" * 64


def test_configuration_is_written_and_merged() -> None:
    settings = merge({"name": "x", "s3": {"url": "u", "endpoint": "e"}}, {"s3": {"endpoint": None, "rotate": {"age": "1s"}}, "http": "h"})
    assert settings == {"name": "x", "s3": {"url": "u", "rotate": {"age": "1s"}}, "http": "h"}
    assert yaml(settings) == 'name: "x"\ns3:\n  url: "u"\n  rotate:\n    age: "1s"\nhttp: "h"\n'


def test_the_runners_words_are_counted() -> None:
    swift = ('◇ Test run started.\n◇ Test a() started.\n✔ Test a() passed after 0.001 seconds.\n✘ Test "b c" recorded an issue at x\n'
             '✘ Test "b c" failed after 0.001 seconds with 1 issue.\n➜ Test d() skipped: "needs X"\n'
             "✔ Test e(x:) with 3 test cases passed after 0.1 seconds.\n✘ Test run with 4 tests failed after 0.1 seconds with 1 issue.\n")
    assert count(swift) == (2, 1, 1)
    assert count("....\n=== 3 passed, 1 failed, 2 skipped, 1 error in 3.21s ===\n") == (3, 2, 2)
    assert count("12 passed in 3.21s (0:03:12)\n") == (12, 0, 0)
    assert count("Segmentation fault\n") is None
    assert reported('<testsuites><testsuite name="TestResults" errors="0" tests="15" failures="1" skipped="6"/></testsuites>') == (8, 1, 6)
