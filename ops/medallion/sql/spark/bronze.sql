-- Bronze in Spark: raw files to records. Input: `content` (path, length, modificationTime, content), the files of this batch, and
-- `known` (sha256), the contents that the ledger has.
-- Output: stage_file, stage_bronze, stage_bronze_reject.
--
-- Two kinds of file:
--   service   one JSON document, a snapshot of the Treasury's service: a list of bonds
--   official  JSON lines, a row of the official history each, its strings as published (decimal commas, dd/mm/yyyy)

-- The time of collection stands in the file's name, in UTC (20230701T011245Z); else it is the file's own time.
create or replace temporary view files as
select
  path,
  lower(sha2(content, 256))                                                     as sha256,
  length                                                                        as bytes,
  modificationTime                                                              as modified_at,
  coalesce(
    try_to_timestamp(regexp_extract(path, '([0-9]{8}T[0-9]{6})Z[^/]*$', 1), "yyyyMMdd'T'HHmmss"),
    modificationTime)                                                           as collected_at,
  try_validate_utf8(cast(content as string))                                    as text
from content;

-- One of the names of each content.
create or replace temporary view contents as
select sha256, min(path) as path, max(collected_at) as collected_at, first(bytes) as bytes, first(text) as text
from files
group by sha256;

create or replace temporary view documents as
select
  sha256, text,
  from_json(text, 'STRUCT<response: STRUCT<
      TrsrBondMkt: STRUCT<qtnDtTm: STRING>,
      TrsrBdTradgList: ARRAY<STRING>>,
    `Tipo Titulo`: STRING>')                                                    as document,
  contains(text, '"TrsrBdTradgList"')                                           as is_service
from contents;

-- What kind of file it is, or why it is none.
create or replace temporary view classified as
select
  c.sha256, c.path, c.collected_at, c.bytes, c.text,
  case when d.is_service and d.document.response.TrsrBdTradgList is not null then d.document.response end as snapshot,
  case
    when d.is_service and d.document.response.TrsrBdTradgList is not null then 'service'
    when c.text rlike '(?m)^\\s*\\{.*"Tipo Titulo"' then 'official'
    else 'unknown'
  end                                                                           as kind,
  case
    when c.bytes = 0 then 'empty file'
    when c.text is null then 'not UTF-8'
    when contains(c.text, char(0)) then 'holds NUL bytes'
    when c.text not rlike '\\S' then 'nothing but white space'
    when d.is_service and d.document.response.TrsrBdTradgList is null then 'not a JSON document: cut off or damaged'
    when d.is_service and d.document.response.TrsrBondMkt.qtnDtTm is null then 'snapshot without quotation time'
    when c.text rlike '(?m)^\\s*\\{.*"Tipo Titulo"' then null
    when d.is_service then null
    when get_json_object(c.text, '$') is null then 'not JSON'
    else 'JSON of an unknown shape'
  end                                                                           as reason
from contents c join documents d on d.sha256 = c.sha256;

-- Read three times below, read and parsed once.
cache lazy table classified;

-- Records of snapshots, of contents that the ledger has not: the others are only seen again. A bond's fields are typed here, so that text where a number belongs is a bad record.
create or replace temporary view service_records as
select
  sha256, 1 as line, entry + 1 as entry, record, quoted_at,
  from_json(record, 'STRUCT<
      TrsrBd: STRUCT<nm: STRING, mtrtyDt: STRING,
        anulInvstmtRate: DECIMAL(18,6), anulRedRate: DECIMAL(18,6),
        untrInvstmtVal: DECIMAL(18,6), untrRedVal: DECIMAL(18,6),
        isinCd: STRING, FinIndxs: STRUCT<cd: INT, nm: STRING>>,
      TrsrBdType: STRUCT<cd: INT, nm: STRING>,
      _corrupt STRING>', map('columnNameOfCorruptRecord', '_corrupt'))          as bond
from (
  select sha256, snapshot.TrsrBondMkt.qtnDtTm as quoted_at, posexplode(snapshot.TrsrBdTradgList) as (entry, record)
  from classified left anti join known using (sha256) where kind = 'service' and reason is null);

-- Records of the official history, a line each. `_cut` marks the last row of a download that ended inside it.
create or replace temporary view official_records as
select
  sha256, line + 1 as line, 0 as entry, record,
  from_json(record, 'STRUCT<`Tipo Titulo`: STRING, `Data Vencimento`: STRING, `Data Base`: STRING,
      `Taxa Compra Manha`: STRING, `Taxa Venda Manha`: STRING,
      `PU Compra Manha`: STRING, `PU Venda Manha`: STRING, `PU Base Manha`: STRING,
      `_cut`: BOOLEAN,
      _corrupt STRING>', map('columnNameOfCorruptRecord', '_corrupt'))          as row
from (
  select sha256, posexplode(split(text, '\r?\n')) as (line, record)
  from classified left anti join known using (sha256) where kind = 'official' and reason is null)
where record rlike '\\S';

-- Both kinds in one shape. Text stays as it came; only the base date is parsed, the day as written: no time zone is applied.
create or replace temporary view records as
select
  sha256, line, entry, record,
  try_to_date(substr(quoted_at, 1, 10), 'yyyy-MM-dd')                           as dia,
  trim(bond.TrsrBd.nm)                                                          as titulo,
  bond.TrsrBd.mtrtyDt                                                           as data_vencimento,
  quoted_at                                                                     as data_base,
  cast(bond.TrsrBd.anulInvstmtRate as string)                                   as taxa_compra,
  cast(bond.TrsrBd.anulRedRate as string)                                       as taxa_venda,
  cast(bond.TrsrBd.untrInvstmtVal as string)                                    as pu_compra,
  cast(bond.TrsrBd.untrRedVal as string)                                        as pu_venda,
  cast(null as string)                                                          as pu_base,
  bond.TrsrBd.FinIndxs.nm                                                       as indice,
  bond.TrsrBdType.nm                                                            as tipo_servico,
  bond.TrsrBd.isinCd                                                            as isin,
  case
    when bond is null or bond._corrupt is not null then 'does not fit the schema of a bond'
    when contains(record, '\\u0000') then 'holds a NUL character'
    when bond.TrsrBd is null then 'no TrsrBd'
    when coalesce(trim(bond.TrsrBd.nm), '') = '' then 'no name'
    when try_to_date(substr(quoted_at, 1, 10), 'yyyy-MM-dd') is null then 'quotation time is no date'
  end                                                                           as reason
from service_records
union all
select
  sha256, line, entry, record,
  try_to_date(trim(row.`Data Base`), 'dd/MM/yyyy'),
  trim(row.`Tipo Titulo`),
  row.`Data Vencimento`, row.`Data Base`, row.`Taxa Compra Manha`, row.`Taxa Venda Manha`,
  row.`PU Compra Manha`, row.`PU Venda Manha`, row.`PU Base Manha`,
  null, null, null,
  case
    when row is null or row._corrupt is not null then 'does not fit the schema of a row'
    when contains(record, '\\u0000') then 'holds a NUL character'
    when row._cut then 'cut off: the download ended inside this row'
    when coalesce(trim(row.`Tipo Titulo`), '') = '' and coalesce(trim(row.`Data Base`), '') = '' then 'empty row'
    when coalesce(trim(row.`Tipo Titulo`), '') = '' then 'no title'
    when try_to_date(trim(row.`Data Base`), 'dd/MM/yyyy') is null then 'base date is no date dd/mm/yyyy'
  end
from official_records;

cache lazy table records;

create or replace temporary view stage_bronze as
select sha256, line, entry, dia, titulo, data_vencimento, data_base, taxa_compra, taxa_venda, pu_compra, pu_venda, pu_base,
  indice, tipo_servico, isin
from records where reason is null;

create or replace temporary view stage_bronze_reject as
select sha256, line, entry, reason, left(record, 10000) as record
from records where reason is not null;

-- Every name of the batch, with what is known of its content.
create or replace temporary view stage_file as
select
  f.path, f.sha256, f.bytes, f.modified_at, c.kind, f.collected_at, coalesce(n.entries, 0) as entries, c.reason,
  case when c.reason is null then '' else coalesce(left(replace(f.text, char(0), ''), 2000), '') end as head
from files f
join classified c on c.sha256 = f.sha256
left join (select sha256, count(*) as entries from records group by sha256) n on n.sha256 = f.sha256;
