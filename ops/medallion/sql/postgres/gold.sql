-- Gold in PostgreSQL: both tables in one transaction, and in it only the rows that differ. Not "on conflict do update where":
-- that locks each row that it then leaves alone, which writes WAL for every row of every run.

create temporary table due on commit drop as
select dia, seq from medallion.stage_day where run = current_setting('medallion.run')::uuid;
create temporary table wanted on commit drop as
select distinct on ("Data_Base", "Tipo") * from medallion.stage_gold where run = current_setting('medallion.run')::uuid;
analyze due;
analyze wanted;
create temporary table changed (what text) on commit drop;

with gone as (
  delete from public.dadostesouroipca_gold g using due d
  where g."Data_Base" = d.dia and not exists (
    select from wanted w where w."Tipo" = 'IPCA' and (w."Data_Base", w."Tipo") = (g."Data_Base", g."Tipo"))
  returning 1)
insert into changed select 'deleted' from gone;

with updated as (
  update public.dadostesouroipca_gold g
  set qtde_registros = w.qtde_registros, compra_manha_media = w.compra_manha_media, venda_manha_media = w.venda_manha_media,
    pu_compra_manha_media = w.pu_compra_manha_media, pu_venda_manha_media = w.pu_venda_manha_media,
    pu_base_manha_media = w.pu_base_manha_media, percentual_diferenca_compra_venda = w.percentual_diferenca_compra_venda
  from wanted w
  where w."Tipo" = 'IPCA' and (w."Data_Base", w."Tipo") = (g."Data_Base", g."Tipo")
    and (g.qtde_registros, g.compra_manha_media, g.venda_manha_media, g.pu_compra_manha_media, g.pu_venda_manha_media,
      g.pu_base_manha_media, g.percentual_diferenca_compra_venda)
      is distinct from (w.qtde_registros, w.compra_manha_media, w.venda_manha_media, w.pu_compra_manha_media, w.pu_venda_manha_media,
      w.pu_base_manha_media, w.percentual_diferenca_compra_venda)
  returning 1)
insert into changed select 'updated' from updated;

with added as (
  insert into public.dadostesouroipca_gold
  select w."Data_Base", w."Tipo", w.qtde_registros, w.compra_manha_media, w.venda_manha_media, w.pu_compra_manha_media,
    w.pu_venda_manha_media, w.pu_base_manha_media, w.percentual_diferenca_compra_venda
  from wanted w
  where w."Tipo" = 'IPCA' and not exists (
    select from public.dadostesouroipca_gold g where (w."Data_Base", w."Tipo") = (g."Data_Base", g."Tipo"))
  order by w."Data_Base"
  returning 1)
insert into changed select 'inserted' from added;

with gone as (
  delete from public.dadostesouropre_gold g using due d
  where g."Data_Base" = d.dia and not exists (
    select from wanted w where w."Tipo" = 'PRE-FIXADOS' and (w."Data_Base", w."Tipo") = (g."Data_Base", g."Tipo"))
  returning 1)
insert into changed select 'deleted' from gone;

with updated as (
  update public.dadostesouropre_gold g
  set qtde_registros = w.qtde_registros, compra_manha_media = w.compra_manha_media, venda_manha_media = w.venda_manha_media,
    pu_compra_manha_media = w.pu_compra_manha_media, pu_venda_manha_media = w.pu_venda_manha_media,
    pu_base_manha_media = w.pu_base_manha_media, percentual_diferenca_compra_venda = w.percentual_diferenca_compra_venda
  from wanted w
  where w."Tipo" = 'PRE-FIXADOS' and (w."Data_Base", w."Tipo") = (g."Data_Base", g."Tipo")
    and (g.qtde_registros, g.compra_manha_media, g.venda_manha_media, g.pu_compra_manha_media, g.pu_venda_manha_media,
      g.pu_base_manha_media, g.percentual_diferenca_compra_venda)
      is distinct from (w.qtde_registros, w.compra_manha_media, w.venda_manha_media, w.pu_compra_manha_media, w.pu_venda_manha_media,
      w.pu_base_manha_media, w.percentual_diferenca_compra_venda)
  returning 1)
insert into changed select 'updated' from updated;

with added as (
  insert into public.dadostesouropre_gold
  select w."Data_Base", w."Tipo", w.qtde_registros, w.compra_manha_media, w.venda_manha_media, w.pu_compra_manha_media,
    w.pu_venda_manha_media, w.pu_base_manha_media, w.percentual_diferenca_compra_venda
  from wanted w
  where w."Tipo" = 'PRE-FIXADOS' and not exists (
    select from public.dadostesouropre_gold g where (w."Data_Base", w."Tipo") = (g."Data_Base", g."Tipo"))
  order by w."Data_Base"
  returning 1)
insert into changed select 'inserted' from added;

delete from medallion.gold_due g using due d where g.dia = d.dia and g.seq = d.seq;

select
  (select count(*) from due)                              as days,
  (select count(*) from wanted)                           as rows,
  (select count(*) from changed where what = 'inserted')  as rows_inserted,
  (select count(*) from changed where what = 'updated')   as rows_updated,
  (select count(*) from changed where what = 'deleted')   as rows_deleted;
