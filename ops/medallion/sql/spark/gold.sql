-- Gold in Spark: the means of each day that is due. Input: `silver` (Silver's rows of those days). Output: gold.
--
-- The means are taken of decimals, exactly, and turned to double once, at the end: a sum of doubles depends on their order,
-- and a row whose last bit differs from run to run would be an update that nobody made.
--
-- percentual_diferenca_compra_venda is the mean, over the bonds whose buy rate is above zero, of (sell - buy) / buy in percent;
-- null where no bond has one. (A rate of zero has no percentage, and below zero its sign would turn.)
-- pu_base_manha_media is the mean of those that have a base price: prices of the service have none.
create or replace temporary view gold as
select
  data_base                                            as `Data_Base`,
  tipo                                                 as `Tipo`,
  count(*)                                             as qtde_registros,
  cast(sum(taxa_compra) / count(*) as double)          as compra_manha_media,
  cast(sum(taxa_venda) / count(*) as double)           as venda_manha_media,
  cast(sum(pu_compra) / count(*) as double)            as pu_compra_manha_media,
  cast(sum(pu_venda) / count(*) as double)             as pu_venda_manha_media,
  cast(sum(pu_base) / nullif(count(pu_base), 0) as double) as pu_base_manha_media,
  cast(sum(percentual) / nullif(count(percentual), 0) as double) as percentual_diferenca_compra_venda
from (
  select *, case when taxa_compra > 0 then cast(100 * (taxa_venda - taxa_compra) / taxa_compra as decimal(27, 14)) end as percentual
  from silver)
group by data_base, tipo;
