-- The check of data quality: each line counts what is wrong, and any count above zero fails the run. The means are computed here a
-- second time, from Silver, by another engine.
with gold as (
  select * from public.dadostesouroipca_gold union all select * from public.dadostesouropre_gold),
again as (
  select data_base as "Data_Base", tipo as "Tipo", count(*) as n,
    avg(taxa_compra) as compra, avg(taxa_venda) as venda, avg(pu_compra) as pu_compra, avg(pu_venda) as pu_venda, avg(pu_base) as pu_base,
    avg(100 * (taxa_venda - taxa_compra) / nullif(taxa_compra, 0)) filter (where taxa_compra > 0) as percentual
  from medallion.silver group by data_base, tipo),
compared as (
  select coalesce(g.qtde_registros = a.n
      and abs(g.compra_manha_media - a.compra) < 1e-9 and abs(g.venda_manha_media - a.venda) < 1e-9
      and abs(g.pu_compra_manha_media - a.pu_compra) < 1e-9 and abs(g.pu_venda_manha_media - a.pu_venda) < 1e-9
      and coalesce(abs(g.pu_base_manha_media - a.pu_base) < 1e-9, g.pu_base_manha_media is null and a.pu_base is null)
      and coalesce(abs(g.percentual_diferenca_compra_venda - a.percentual) < 1e-9,
        g.percentual_diferenca_compra_venda is null and a.percentual is null), false) as same
  from gold g full join again a using ("Data_Base", "Tipo"))
select 'days still due in Silver' as name, count(*) as wrong from medallion.silver_due
union all select 'days still due in Gold', count(*) from medallion.gold_due
union all select 'Gold rows that differ from the means of Silver, are missing or are too many', count(*) from compared where not same
union all select 'Gold rows in the wrong table',
  (select count(*) from public.dadostesouroipca_gold where "Tipo" <> 'IPCA') + (select count(*) from public.dadostesouropre_gold where "Tipo" <> 'PRE-FIXADOS')
union all select 'Gold means outside what a bond can have', count(*) from gold
  where compra_manha_media not between -20 and 200 or venda_manha_media not between -20 and 200
    or pu_compra_manha_media <= 0 or pu_venda_manha_media <= 0 or pu_base_manha_media <= 0
union all select 'base dates in the future, or before 2002', count(*) from gold where "Data_Base" not between '2002-01-01' and current_date + 1
union all select 'files whose records are not all in Bronze or among its rejects', count(*) from medallion.file f
  where f.state <> 'quarantined' and f.entries <> (select count(*) from medallion.bronze b where b.file_id = f.id)
    + (select count(*) from medallion.bronze_reject r where r.file_id = f.id)
union all select 'accepted records of Bronze whose title has no row in Silver on their day', count(*) from (
    select 1 from medallion.bronze b
    join medallion.file f on f.id = b.file_id and f.state = 'loaded'
    join medallion.titulo t on t.titulo = regexp_replace(b.titulo, '\s+[0-9]{4}$', '')
    where not exists (select from medallion.silver_reject r where (r.file_id, r.line, r.entry) = (b.file_id, b.line, b.entry))
      and not exists (select from medallion.silver s where s.tipo = t.tipo and s.data_base = b.dia)) as lost;
