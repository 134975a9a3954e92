"""What becomes of raw files: Bronze, Silver and Gold, on small inputs."""

import datetime
import gzip
import json

import pytest
from conftest import DATA

from database import check

DAY = datetime.date
IPCA = "Tesouro IPCA+;15/05/2015;18/07/2005;8,74;8,80;675,19;671,56;671,25"


def sample(lake):
    lake.raw("official", str(DATA / "official_sample.csv.gz"))


def test_the_ten_messages_of_the_original(lake, spark):
    sample(lake)
    lake.run(spark)
    compared = 0
    for line in (DATA / "gold_original.ndjson").read_text().splitlines():
        original = json.loads(line)
        day = DAY(1970, 1, 1) + datetime.timedelta(days=original["Data_Base"])
        table = "dadostesouroipca_gold" if original["Tipo"] == "IPCA" else "dadostesouropre_gold"
        row = lake.ask(f'select * from {table} where "Data_Base" = %s and "Tipo" = %s', day, original["Tipo"])[0]
        assert row[2] * 2 == original["qtde_registros"], "the original counted every row twice"
        for name, value in list(zip(original, row))[3:]:
            assert value == pytest.approx(original[name], abs=1e-9, rel=0), (day, name)
        compared += 1
    assert compared == 10
    assert [row[2] for row in lake.ask('select * from dadostesouroipca_gold where "Data_Base" < \'2005-07-23\' order by 1')] == [2] * 5
    assert [row[2] for row in lake.ask('select * from dadostesouropre_gold where "Data_Base" between \'2004-12-31\' and \'2005-01-06\''
                                       " order by 1")] == [6, 6, 5, 5, 5]
    assert check() == 0


def test_the_columns_of_gold_are_the_originals(lake):
    original = list(json.loads((DATA / "gold_original.ndjson").read_text().splitlines()[0]))
    for table in ("dadostesouroipca_gold", "dadostesouropre_gold"):
        columns = lake.ask("select column_name, data_type from information_schema.columns where table_name = %s"
                           " order by ordinal_position", table)
        assert [name for name, _ in columns] == original
        assert [kind for _, kind in columns] == ["date", "text", "bigint"] + ["double precision"] * 6
        assert lake.one("select array_agg(a.attname::text order by k.n) from pg_constraint c cross join unnest(c.conkey) with ordinality k (attnum, n)"
                        " join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum where c.contype = 'p'"
                        " and c.conrelid = %s::regclass", table) == ["Data_Base", "Tipo"]


def test_no_day_is_shifted(lake, spark):
    # 16 October 2005 began at one o'clock in Sao Paulo: a midnight that a JVM in that zone moves to the day before.
    sample(lake)
    lake.official("dst", "Tesouro IPCA+;16/10/2005;16/10/2005;8,74;8,80;675,19;671,56;671,25")
    lake.run(spark)
    with gzip.open(DATA / "official_sample.csv.gz", "rt") as file:
        days = {line.split(";")[2] for line in file.readlines()[1:] if not line.rstrip("\n").endswith(";")}
    expected = {datetime.datetime.strptime(day, "%d/%m/%Y").date() for day in days} | {DAY(2005, 10, 16)}
    assert {row[0] for row in lake.ask("select data_base from medallion.silver")} == expected
    assert lake.one("select data_vencimento from medallion.silver where data_base = '2005-10-16'") == DAY(2005, 10, 16)


def test_snapshots_of_the_service(lake, spark):
    lake.raw("service", str(DATA / "snapshots.tar.gz"))
    counts = lake.run(spark)
    assert counts["bronze"]["files_new"] == 5
    assert lake.ask("select reason, bytes from medallion.quarantine") == [("empty file", 0)]
    # The quotation of 17:59 of 30 April belongs to that day, though the file was collected on 1 May.
    assert [row[0] for row in lake.ask("select distinct dia from medallion.bronze order by 1")] == [
        DAY(2023, 7, 5), DAY(2025, 4, 30), DAY(2025, 5, 19)]
    # Eleven entries carry the wrong index, in two files; the title decides.
    assert lake.one("select count(*) from medallion.bronze where indice = 'INFLAÇÃO'") == 22
    assert lake.one("select count(*) from medallion.bronze where dia = '2025-05-19'") == 5
    assert lake.ask("select distinct reason from medallion.silver_reject") == [("not on sale",)]
    assert lake.one("select count(*) from medallion.silver where pu_compra <= 0") == 0
    assert lake.one('select count(*) from dadostesouropre_gold where pu_base_manha_media is null and pu_venda_manha_media > 0') > 0
    assert check() == 0


UNREADABLE = {
    "empty.json": (b"", "empty file"),
    "blank.json": (b" \n\n", "nothing but white space"),
    "latin1.json": ('{"nm":"Título"}'.encode("latin-1"), "not UTF-8"),
    "nul.json": (b'{"Tipo Titulo":"a\0"}', "holds NUL bytes"),
    "page.json": (b"<html>503 Service Unavailable</html>", "not JSON"),
    "other.json": (b'{"rates": []}', "JSON of an unknown shape"),
    "cut.json": (b'{"response":{"TrsrBondMkt":{"qtnDtTm":"2024-03-01T10:00:00"},"TrsrBdTradgList":[{"TrsrBd":{"nm":"Tes',
                 "not a JSON document: cut off or damaged"),
    "timeless.json": (b'{"response":{"TrsrBondMkt":{},"TrsrBdTradgList":[]}}', "snapshot without quotation time"),
}


def test_files_that_cannot_be_read(lake, spark):
    for name, (data, _) in UNREADABLE.items():
        (lake.landing / name).write_bytes(data)
    (lake.landing / ".half.json.part").write_bytes(b"{")
    lake.official("good", IPCA)
    counts = lake.run(spark, "bronze")["bronze"]
    assert (counts["files_new"], counts["files_quarantined"], counts["rows_loaded"]) == (9, 8, 1), "the run goes on"
    found = dict(lake.ask("select regexp_replace(path, '.*/', ''), reason from medallion.quarantine"))
    assert found == {name: reason for name, (_, reason) in UNREADABLE.items()}
    assert lake.run(spark, "bronze")["bronze"]["files_seen"] == 0, "they are not read again"


def test_bad_records_are_kept_apart(lake, spark):
    bond = '{"TrsrBd":{"nm":"Tesouro IPCA+ 2029","mtrtyDt":"2029-05-15T00:00:00","anulInvstmtRate":%s,"anulRedRate":5.6,"untrInvstmtVal":30.1,"untrRedVal":29.9}}'
    (lake.landing / "snapshot_20240301T140000Z.json").write_text(
        '{"response":{"TrsrBondMkt":{"qtnDtTm":"2024-03-01T10:00:00"},"TrsrBdTradgList":[' + ",".join(
            [bond % '"high"', bond % "5.5", '{"TrsrBdType":{"cd":1,"nm":"LTN"}}', '{"TrsrBd":{"nm":" "}}']) + "]}}")
    (lake.landing / "rows_20240302T000000Z.jsonl").write_text("\n".join([
        '{"Tipo Titulo":"Tesouro IPCA+","Data Vencimento":"15/05/2029","Data Base":"2024-03-01"}',
        '{"Tipo Titulo":"","Data Vencimento":"","Data Base":""}',
        '{"Tipo Titulo":"Tesouro IPCA+","Data Venc',
        '{"Tipo Titulo":"Tesouro IPCA+","Data Base":"01/03/2024","_cut":true}',
        '{"Tipo Titulo":"Tesouro\\u0000IPCA+","Data Base":"01/03/2024"}']) + "\n")
    lake.run(spark)
    assert sorted(lake.ask("select line, entry, reason from medallion.bronze_reject")) == [
        (1, 0, "base date is no date dd/mm/yyyy"),
        (1, 1, "does not fit the schema of a bond"),
        (1, 3, "no TrsrBd"),
        (1, 4, "no name"),
        (2, 0, "empty row"),
        (3, 0, "does not fit the schema of a row"),
        (4, 0, "cut off: the download ended inside this row"),
        (5, 0, "holds a NUL character")]
    assert lake.ask("select taxa_compra from medallion.silver") == [(5.5,)]
    assert check() == 0


def test_a_download_that_ended_inside_a_row(lake, spark):
    import raw
    body = ";".join(raw.COLUMNS) + "\n" + IPCA + "\n" + IPCA.replace("18/07", "19/07")[:-3]
    raw.official(lake.landing, "part_20050720T000000Z.csv", body.encode())
    lake.run(spark)
    assert lake.ask("select data_base from medallion.silver") == [(DAY(2005, 7, 18),)]
    assert lake.one("select reason from medallion.bronze_reject") == "cut off: the download ended inside this row"


def test_impossible_values_are_rejected_with_a_reason(lake, spark):
    cases = {
        ";8,74;8,80;675,19;671,56;671,25": "maturity missing",
        "31/02/2015;8,74;8,80;675,19;671,56;671,25": "maturity is no date",
        "17/07/2005;8,74;8,80;675,19;671,56;671,25": "maturity before base date",
        "15/05/2001;;8,80;675,19;671,56;671,25": "maturity before base date",
        "15/05/2015;;8,80;675,19;671,56;671,25": "buy rate missing",
        "15/05/2016;x;8,80;675,19;671,56;671,25": "buy rate is no number",
        "15/05/2017;8,74;;675,19;671,56;671,25": "sell rate missing",
        "15/05/2018;8,74;8,80;0,00;671,56;671,25": "buy price zero or below",
        "15/05/2019;8,74;8,80;675,19;-1,00;671,25": "sell price zero or below",
        "15/05/2020;8,74;8,80;675,19;671,56;": "base price missing",
        "15/05/2021;8,74;8,80;675,19;671,56;0,00": "base price zero or below",
        # Accepted: thousands, spaces, a maturity on the day itself, negative rates, one decimal.
        "18/07/2005; 8,7 ;8,80;1.675,19;1.671,56;1.671,25": None,
        "15/05/2022;-0,10;-0,05;675,19;671,56;671,25": None,
    }
    lake.official("cases_20050720T000000Z", *("Tesouro IPCA+;" + case.replace(";", ";18/07/2005;", 1) for case in cases))
    counts = lake.run(spark)
    found = {line: reason for line, reason in lake.ask("select line, reason from medallion.silver_reject")}
    assert found == {line: reason for line, reason in enumerate(cases.values(), 1) if reason}
    assert counts["silver"]["rows_rejected"] == len(found)
    assert [float(value) for (value,) in lake.ask("select pu_compra from medallion.silver order by data_vencimento")] == [1675.19, 675.19]
    assert check() == 0


def test_the_percentage_leaves_out_rates_of_zero_and_below(lake, spark):
    rows = ["Tesouro IPCA+;15/05/2015;{};{};{};675,19;671,56;671,25", "Tesouro IPCA+;15/05/2024;{};{};{};675,19;671,56;671,25"]
    lake.official("a_20050720T000000Z", rows[0].format("18/07/2005", "0,00", "0,10"), rows[1].format("18/07/2005", "2,00", "2,10"),
                  rows[0].format("19/07/2005", "-1,00", "-0,90"), rows[1].format("19/07/2005", "0,00", "0,10"))
    lake.run(spark)
    assert lake.ask('select percentual_diferenca_compra_venda, compra_manha_media from dadostesouroipca_gold order by "Data_Base"') == [
        (5.0, 1.0), (None, -0.5)]
    assert check() == 0


def test_the_newest_wins(lake, spark):
    lake.official("new_20050720T000000Z", IPCA.replace("671,25", "700,00"))
    lake.official("old_20050719T000000Z", IPCA)
    lake.official("twice_20050718T000000Z", IPCA.replace("671,25", "1,00"), IPCA.replace("671,25", "2,00"))
    lake.run(spark)
    assert lake.ask("select pu_base from medallion.silver") == [(700,)]
    # The old content published once more is the newest word again, though it is not loaded again.
    lake.official("again_20050721T000000Z", IPCA)
    counts = lake.run(spark)
    assert counts["bronze"]["files_new"] == 0
    assert float(lake.one("select pu_base from medallion.silver")) == 671.25
    assert lake.ask("select pu_base_manha_media from dadostesouroipca_gold") == [(671.25,)]


def test_the_check_fails_on_a_wrong_gold_row(lake, spark):
    lake.official("a_20050720T000000Z", IPCA)
    lake.run(spark)
    assert check() == 0
    lake.ask("update dadostesouroipca_gold set venda_manha_media = venda_manha_media + 0.001")
    assert check() == 1
    lake.ask("delete from dadostesouroipca_gold")
    assert check() == 1


def test_the_generator_is_labelled_and_repeatable(lake, spark):
    lake.raw("generate", "--days", "3")
    (file,) = lake.landing.iterdir()
    first = file.read_bytes()
    assert file.name.startswith("GENERATED_")
    lake.raw("generate", "--days", "3")
    assert file.read_bytes() == first
    lake.run(spark)
    assert lake.one("select count(*) from medallion.silver") == 18
    assert check() == 0


def test_metrics_and_log(lake, spark, tmp_path, capsys):
    lake.official("a_20050720T000000Z", IPCA, IPCA.replace("671,25", ""))
    lake.run(spark)
    text = (tmp_path / "medallion.prom").read_text()
    assert 'medallion_rows{layer="silver"} 1.0' in text
    assert 'medallion_rejects{layer="silver",reason="base price missing"} 1.0' in text
    assert 'medallion_run_count{step="gold",what="rows_inserted"} 1.0' in text
    assert "medallion silver finished seconds=" in capsys.readouterr().out
