"""The lake read back: the objects of a topic fold to the table, or the difference is shown."""

import gzip
import json

from test_layers import IPCA


def event(op: str, row: dict | None, key: dict) -> str:
    before = {**dict.fromkeys(row or key), **key} if op == "d" else None
    return json.dumps({"before": before, "after": row if op != "d" else None, "op": op, "ts_ms": 0}) + "\n"


def test_objects_fold_to_the_table(lake, spark):
    import fold
    lake.official("a_20050720T000000Z", *(IPCA.replace("18/07", f"{day}/07") for day in (18, 19, 20)))
    lake.run(spark)
    columns = ["Data_Base", "Tipo", "qtde_registros", "compra_manha_media", "venda_manha_media", "pu_compra_manha_media",
               "pu_venda_manha_media", "pu_base_manha_media", "percentual_diferenca_compra_venda"]
    rows = [dict(zip(columns, [f"{row[0]}Z", *row[1:]])) for row in lake.ask('select * from dadostesouroipca_gold order by 1')]
    keys = [{name: row[name] for name in columns[:2]} for row in rows]
    folder = lake.landing / "topic"
    (folder / "hour=09").mkdir(parents=True)
    (folder / "_sluice.json").write_text('{"layout":1}')
    gone = {**rows[0], "Data_Base": "1999-01-01Z"}
    old = {**rows[0], "pu_base_manha_media": 1.0}
    # Offsets above ten digits' order of text, a deleted row, an updated one; one object compressed, one not.
    (folder / "hour=09" / "topic+0+0000000000.json").write_text(event("c", old, keys[0]) + event("c", gone, gone))
    with gzip.open(folder / "hour=09" / "topic+0+0000000002.json.gz", "wt") as file:
        file.write(event("u", rows[0], keys[0]) + event("d", None, {name: gone[name] for name in columns[:2]}))
    (folder / "hour=09" / "topic+0+0000000005.json").write_text("".join(event("c", row, key) for row, key in zip(rows[1:], keys[1:])))
    assert fold.fold(spark, str(folder), "public.dadostesouroipca_gold") == 0
    (folder / "hour=09" / "topic+0+0000000007.json").write_text(event("u", old, keys[0]))
    assert fold.fold(spark, str(folder), "public.dadostesouroipca_gold") == 2
