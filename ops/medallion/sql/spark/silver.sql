-- Silver in Spark: one row for each bond and day, of the days that are due.
-- Input: `bronze` (Bronze's rows of those days, of files that are not retracted, of the titles that Gold is made of; with
-- kind and collected_at of their file, and the tipo of their title). Output: stage_silver, stage_silver_reject.

-- The official file writes 1.234,56; the service writes 1234.56. The day of a date is taken as written: no time zone is applied.
create or replace temporary view parsed as
select
  file_id, line, entry, dia, kind, collected_at, tipo,
  case when kind = 'official' then try_to_date(trim(data_vencimento), 'dd/MM/yyyy')
       else try_to_date(substr(data_vencimento, 1, 10), 'yyyy-MM-dd') end       as vencimento,
  case when kind = 'official' then try_cast(replace(replace(trim(taxa_compra), '.', ''), ',', '.') as decimal(18, 6))
       else try_cast(taxa_compra as decimal(18, 6)) end                         as compra,
  case when kind = 'official' then try_cast(replace(replace(trim(taxa_venda), '.', ''), ',', '.') as decimal(18, 6))
       else try_cast(taxa_venda as decimal(18, 6)) end                          as venda,
  case when kind = 'official' then try_cast(replace(replace(trim(pu_compra), '.', ''), ',', '.') as decimal(18, 6))
       else try_cast(pu_compra as decimal(18, 6)) end                           as compra_pu,
  case when kind = 'official' then try_cast(replace(replace(trim(pu_venda), '.', ''), ',', '.') as decimal(18, 6))
       else try_cast(pu_venda as decimal(18, 6)) end                            as venda_pu,
  case when kind = 'official' then try_cast(replace(replace(trim(pu_base), '.', ''), ',', '.') as decimal(18, 6)) end as base_pu,
  taxa_compra, taxa_venda, pu_compra, pu_venda, pu_base, data_vencimento
from bronze;

-- One reason a row: the first that holds. The service knows no PU base; an official row without one is incomplete.
create or replace temporary view judged as
select *,
  case
    when coalesce(trim(data_vencimento), '') = '' then 'maturity missing'
    when vencimento is null                       then 'maturity is no date'
    when vencimento < dia                         then 'maturity before base date'
    when coalesce(trim(taxa_compra), '') = ''     then 'buy rate missing'
    when compra is null                           then 'buy rate is no number'
    when coalesce(trim(taxa_venda), '') = ''      then 'sell rate missing'
    when venda is null                            then 'sell rate is no number'
    when coalesce(trim(pu_compra), '') = ''       then 'buy price missing'
    when compra_pu is null                        then 'buy price is no number'
    when coalesce(trim(pu_venda), '') = ''        then 'sell price missing'
    when venda_pu is null                         then 'sell price is no number'
    when kind = 'service' and compra_pu = 0 and compra = 0 then 'not on sale'
    when compra_pu <= 0                           then 'buy price zero or below'
    when venda_pu <= 0                            then 'sell price zero or below'
    when kind = 'official' and coalesce(trim(pu_base), '') = '' then 'base price missing'
    when kind = 'official' and base_pu is null    then 'base price is no number'
    when base_pu <= 0                             then 'base price zero or below'
  end as reason
from parsed;

-- The newest wins: the file collected last, and in it the last record. An official file is collected after the day's snapshots.
create or replace temporary view stage_silver as
select tipo, vencimento as data_vencimento, dia as data_base, compra as taxa_compra, venda as taxa_venda, compra_pu as pu_compra,
  venda_pu as pu_venda, base_pu as pu_base, file_id, line, entry
from (
  select *, row_number() over (partition by tipo, vencimento, dia order by collected_at desc, file_id desc, line desc, entry desc) as newest
  from judged where reason is null)
where newest = 1;

create or replace temporary view stage_silver_reject as
select file_id, line, entry, dia, reason from judged where reason is not null;
