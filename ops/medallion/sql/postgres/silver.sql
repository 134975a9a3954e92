-- Silver in PostgreSQL: one transaction. Only what changed is written, what vanished is deleted, and the days of both are
-- noted for Gold.

create temporary table due on commit drop as
select dia, seq from medallion.stage_day where run = current_setting('medallion.run')::uuid;
create temporary table wanted on commit drop as
select distinct on (tipo, data_vencimento, data_base) * from medallion.stage_silver where run = current_setting('medallion.run')::uuid;
analyze due;
analyze wanted;
create temporary table changed (dia date, what text) on commit drop;

with gone as (
  delete from medallion.silver s using due d
  where s.data_base = d.dia and not exists (
    select from wanted w where (w.tipo, w.data_vencimento, w.data_base) = (s.tipo, s.data_vencimento, s.data_base))
  returning s.data_base)
insert into changed select data_base, 'deleted' from gone;

with updated as (
  update medallion.silver s
  set taxa_compra = w.taxa_compra, taxa_venda = w.taxa_venda, pu_compra = w.pu_compra, pu_venda = w.pu_venda, pu_base = w.pu_base,
    file_id = w.file_id, line = w.line, entry = w.entry, updated_at = now()
  from wanted w
  where (w.tipo, w.data_vencimento, w.data_base) = (s.tipo, s.data_vencimento, s.data_base)
    and (s.taxa_compra, s.taxa_venda, s.pu_compra, s.pu_venda, s.pu_base)
      is distinct from (w.taxa_compra, w.taxa_venda, w.pu_compra, w.pu_venda, w.pu_base)
  returning s.data_base)
insert into changed select data_base, 'updated' from updated;

with added as (
  insert into medallion.silver (tipo, data_vencimento, data_base, taxa_compra, taxa_venda, pu_compra, pu_venda, pu_base, file_id, line, entry)
  select tipo, data_vencimento, data_base, taxa_compra, taxa_venda, pu_compra, pu_venda, pu_base, file_id, line, entry
  from wanted w
  where not exists (
    select from medallion.silver s where (w.tipo, w.data_vencimento, w.data_base) = (s.tipo, s.data_vencimento, s.data_base))
  returning data_base)
insert into changed select data_base, 'inserted' from added;

create temporary table refused on commit drop as
select distinct on (file_id, line, entry) * from medallion.stage_silver_reject where run = current_setting('medallion.run')::uuid;
delete from medallion.silver_reject r using due d
where r.dia = d.dia and not exists (
  select from refused w where (w.file_id, w.line, w.entry, w.reason) = (r.file_id, r.line, r.entry, r.reason));
insert into medallion.silver_reject (file_id, line, entry, dia, reason)
select file_id, line, entry, dia, reason from refused
on conflict (file_id, line, entry) do nothing;

insert into medallion.gold_due (dia) select distinct dia from changed on conflict (dia) do update set seq = nextval('medallion.note');
delete from medallion.silver_due s using due d where s.dia = d.dia and s.seq = d.seq;

select
  (select count(*) from due)                              as days,
  (select count(*) from wanted)                           as rows,
  (select count(*) from changed where what = 'inserted')  as rows_inserted,
  (select count(*) from changed where what = 'updated')   as rows_updated,
  (select count(*) from changed where what = 'deleted')   as rows_deleted,
  (select count(*) from refused)                          as rows_rejected;
