-- The objects in S3, folded to the state that they describe. Input: `objects` (value: the whole text, path), of one table's topic, and
-- `gold_table`, the table itself. Output: fold_difference, the rows that are in one and not in the other.
--
-- The last change of a key wins. A key's changes are in one partition, and there the order is: the start offset in the object's
-- name, then the line.
create or replace temporary view fold_changes as
select
  cast(regexp_extract(path, '\\+([0-9]+)\\.json', 1) as bigint)                   as start,
  line,
  from_json(text, 'STRUCT<op: STRING,
    before: STRUCT<Data_Base: STRING, Tipo: STRING>,
    after: STRUCT<Data_Base: STRING, Tipo: STRING, qtde_registros: BIGINT, compra_manha_media: DOUBLE, venda_manha_media: DOUBLE,
      pu_compra_manha_media: DOUBLE, pu_venda_manha_media: DOUBLE, pu_base_manha_media: DOUBLE,
      percentual_diferenca_compra_venda: DOUBLE>>')                             as change
from (select path, posexplode(split(value, '\n')) as (line, text) from objects)
where text <> '';

create or replace temporary view fold_state as
select to_date(substr(last.Data_Base, 1, 10)) as `Data_Base`, last.Tipo as `Tipo`, last.qtde_registros, last.compra_manha_media,
  last.venda_manha_media, last.pu_compra_manha_media, last.pu_venda_manha_media, last.pu_base_manha_media,
  last.percentual_diferenca_compra_venda
from (
  select max_by(change.op, struct(start, line)) as op, max_by(change.after, struct(start, line)) as last
  from fold_changes
  group by coalesce(change.after.Data_Base, change.before.Data_Base), coalesce(change.after.Tipo, change.before.Tipo))
where op <> 'd';

create or replace temporary view fold_difference as
select 'only in the table' as side, * from (select * from gold_table except all select * from fold_state)
union all
select 'only in the objects', * from (select * from fold_state except all select * from gold_table);
