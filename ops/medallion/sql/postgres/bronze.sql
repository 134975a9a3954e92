-- Bronze in PostgreSQL: one transaction from staging to the ledger, the rows and the days that Silver has to compute again.

create temporary table batch on commit drop as
select distinct on (path) * from medallion.stage_file where run = current_setting('medallion.run')::uuid order by path;
analyze batch;

insert into medallion.sighting (path, bytes, modified_at, sha256)
-- A file that could not be read at all is not noted, so that the next run tries again.
select path, bytes, modified_at, sha256 from batch where sha256 is not null
on conflict (path) do update set bytes = excluded.bytes, modified_at = excluded.modified_at, sha256 = excluded.sha256, seen_at = now();

insert into medallion.quarantine (path, sha256, bytes, reason, head)
select path, sha256, bytes, reason, head from batch where reason is not null
on conflict (path) do update set sha256 = excluded.sha256, bytes = excluded.bytes, reason = excluded.reason, head = excluded.head, at = now();

-- A content seen again, collected later than we knew, is the newest word again: its days are due.
create temporary table seen_again on commit drop as
select f.id, max(b.collected_at) as collected_at
from batch b join medallion.file f on f.sha256 = b.sha256
where b.collected_at > f.collected_at
group by f.id;

update medallion.file f set collected_at = s.collected_at from seen_again s where f.id = s.id;

create temporary table new_file (id bigint, sha256 text) on commit drop;
with added as (
  insert into medallion.file (sha256, path, bytes, kind, collected_at, entries, state, reason)
  select sha256, min(path), max(bytes), max(kind), max(collected_at), max(entries),
    case when max(reason) is null then 'loaded' else 'quarantined' end, max(reason)
  from batch where sha256 is not null
  group by sha256
  on conflict (sha256) do nothing
  returning id, sha256)
insert into new_file select id, sha256 from added;
analyze new_file;

insert into medallion.bronze (file_id, line, entry, dia, titulo, data_vencimento, data_base, taxa_compra, taxa_venda,
  pu_compra, pu_venda, pu_base, indice, tipo_servico, isin)
select distinct on (n.id, s.line, s.entry) n.id, s.line, s.entry, s.dia, s.titulo, s.data_vencimento, s.data_base, s.taxa_compra,
  s.taxa_venda, s.pu_compra, s.pu_venda, s.pu_base, s.indice, s.tipo_servico, s.isin
from medallion.stage_bronze s join new_file n on n.sha256 = s.sha256
where s.run = current_setting('medallion.run')::uuid;

insert into medallion.bronze_reject (file_id, line, entry, reason, record)
select distinct on (n.id, s.line, s.entry) n.id, s.line, s.entry, s.reason, s.record
from medallion.stage_bronze_reject s join new_file n on n.sha256 = s.sha256
where s.run = current_setting('medallion.run')::uuid;

insert into medallion.silver_due (dia)
select distinct b.dia from medallion.bronze b
where b.file_id in (select id from new_file union select id from seen_again)
on conflict (dia) do update set seq = nextval('medallion.note');

select
  (select count(*) from batch)                                                        as files_seen,
  (select count(*) from new_file)                                                     as files_new,
  (select count(*) from batch where reason is not null)                               as files_quarantined,
  (select count(*) from medallion.bronze where file_id in (select id from new_file))  as rows_loaded,
  (select count(*) from medallion.bronze_reject where file_id in (select id from new_file)) as rows_rejected;
