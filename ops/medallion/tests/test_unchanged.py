"""What the change stream sees: only what changed."""

import shutil

from conftest import DATA

from database import Run
from test_layers import IPCA, sample

GOLD = ("dadostesouroipca_gold", "dadostesouropre_gold")


def changes(lake) -> list[str]:
    """What a logical slot delivers for the Gold tables since the last call, in short: `UPDATE dadostesouroipca_gold`."""
    rows = lake.ask("select data from pg_logical_slot_get_changes('watch', null, null, 'skip-empty-xacts', '1')")
    return [f"{data.split()[2].rstrip(':')} {data.split()[1].rstrip(':').split('.')[-1]}" for (data,) in rows
            if data.startswith("table public.dadostesouro")]


def wal_of_gold(lake, since: str) -> list[tuple]:
    """Every WAL record that touches a block of the Gold tables, their indexes or their TOAST, decoded or not."""
    return lake.ask("""
      select w.resource_manager, w.record_type, w.block_ref
      from pg_get_wal_records_info(%s, pg_current_wal_flush_lsn()) w
      cross join (select (select oid from pg_database where datname = current_database()) || '/' || pg_relation_filenode(c.oid) as file
        from pg_class c where c.relname like 'dadostesouro%%gold%%') g
      where w.block_ref like '%%/' || g.file || ' %%'""", since)


def watch(lake) -> str:
    lake.ask("create extension if not exists pg_walinspect")
    if not lake.ask("select from pg_replication_slots where slot_name = 'watch' and database = current_database()"):
        lake.ask("select pg_create_logical_replication_slot('watch', 'test_decoding')")
    lake.ask("checkpoint")
    return lake.one("select pg_current_wal_flush_lsn()::text")


def test_loading_everything_twice_writes_nothing(lake, spark):
    sample(lake)
    lake.raw("service", str(DATA / "snapshots.tar.gz"))
    lake.run(spark)
    before = lake.tables()
    since = watch(lake)

    # Once more as it is; then every file under another name; then every day computed again.
    lake.run(spark)
    for path in list(lake.landing.iterdir()):
        shutil.copy(path, path.with_name("copy_" + path.name))
    assert lake.run(spark)["bronze"]["files_new"] == 0
    lake.ask("select medallion.recompute()")
    counts = lake.run(spark)
    assert counts["gold"]["rows"] == len(before["ipca"]) + len(before["pre"]), "all was computed again"

    after = lake.tables()
    before.pop("quarantine"), after.pop("quarantine")
    assert after == before
    assert changes(lake) == []
    assert wal_of_gold(lake, since) == []


def test_wal_of_gold_is_seen_where_there_is_some(lake, spark):
    """The proof of the test above: the same question answers when a row is written, and when one is only locked."""
    lake.official("a_20050720T000000Z", IPCA)
    lake.run(spark)
    since = watch(lake)
    lake.ask("select * from dadostesouroipca_gold for update")
    assert {record[1] for record in wal_of_gold(lake, since)} == {"LOCK"}
    lake.ask("update dadostesouroipca_gold set qtde_registros = 3")
    assert changes(lake) == ["UPDATE dadostesouroipca_gold"]
    assert len(wal_of_gold(lake, since)) >= 2


def test_a_restated_price_writes_one_row(lake, spark):
    sample(lake)
    lake.run(spark)
    watch(lake)
    lake.official("restated_20250601T000000Z", IPCA.replace("671,25", "671,26"))
    counts = lake.run(spark)
    assert counts["silver"] | {"rows": 0} == {"days": 1, "rows": 0, "rows_inserted": 0, "rows_updated": 1, "rows_deleted": 0, "rows_rejected": 0}
    assert changes(lake) == ["UPDATE dadostesouroipca_gold"]


def test_what_vanishes_is_deleted(lake, spark):
    lake.official("good_20050720T000000Z", IPCA)
    lake.official("wrong_20050721T000000Z", IPCA.replace("18/07/2005", "19/07/2005"), IPCA.replace("671,25", "999,00"))
    lake.run(spark)
    assert lake.ask('select pu_base_manha_media from dadostesouroipca_gold order by "Data_Base"') == [(999.0,), (671.25,)]
    watch(lake)
    lake.ask("select medallion.retract(sha256) from medallion.file where path like '%%wrong%%' or collected_at = '2005-07-21T00:00:00Z'")
    lake.run(spark)
    assert lake.ask('select pu_base_manha_media from dadostesouroipca_gold') == [(671.25,)]
    assert sorted(changes(lake)) == ["DELETE dadostesouroipca_gold", "UPDATE dadostesouroipca_gold"]


def test_both_gold_tables_change_in_one_transaction(lake, spark):
    watch(lake)
    lake.official("a_20050720T000000Z", IPCA, IPCA.replace("IPCA+", "Prefixado"))
    lake.run(spark)
    rows = lake.ask("select xid::text from pg_logical_slot_get_changes('watch', null, null) where data like 'table public.dadostesouro%%'")
    assert len(rows) == 2 and len(set(rows)) == 1


def test_a_day_noted_during_a_run_is_not_forgotten(lake, spark):
    lake.official("a_20050720T000000Z", IPCA)
    lake.run(spark, "bronze", "silver")
    run = Run("gold")
    run.clear("stage_day", "stage_gold")
    run.script("gold_due")
    # While Gold computes, Silver notes the same day again.
    lake.ask("insert into medallion.gold_due (dia) select dia from medallion.gold_due on conflict (dia) do update set seq = nextval('medallion.note')")
    run.script("gold")
    run.finish()
    assert lake.one("select count(*) from medallion.gold_due") == 1


def test_rows_of_a_run_that_died_are_not_taken(lake, spark):
    """A process that outlived its run may still write to staging: its rows carry another run."""
    lake.official("a_20050720T000000Z", IPCA)
    lake.run(spark)
    run = Run("gold")
    lake.ask("insert into medallion.stage_gold (run, \"Data_Base\", \"Tipo\", qtde_registros) values (gen_random_uuid(), '1999-01-01', 'IPCA', 1)")
    run.script("gold")
    run.finish()
    assert lake.one("select count(*) from dadostesouroipca_gold") == 1
