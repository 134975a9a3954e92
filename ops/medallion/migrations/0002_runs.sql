-- How the layers follow each other, and what is known of each run.

-- Days to compute again. A layer's change and the note of its days are one transaction, and so are the next layer's change and
-- the removal of the note: whatever dies in between, no day is forgotten. `seq` grows when a day is noted again, so that a run
-- removes only the notes that it had read.
create sequence medallion.note;
create table medallion.silver_due (dia date primary key, seq bigint not null default nextval('medallion.note'));
create table medallion.gold_due (dia date primary key, seq bigint not null default nextval('medallion.note'));

-- One row for each attempt of a job. `counts` are the numbers of the run's log and of its metrics.
create table medallion.run (
  id          uuid        primary key,
  job         text        not null,
  started_at  timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  seconds     double precision,
  counts      jsonb       not null default '{}'
);
create index run_by_job on medallion.run (job, started_at desc);

-- Staging: the only tables that Spark writes. No keys: a task that Spark runs twice may write its rows twice, and the merges
-- take each once. `run` keeps the rows of a process that outlived its run from being taken for this run's.
create unlogged table medallion.stage_file (
  run uuid not null, path text, sha256 text, bytes bigint, modified_at timestamptz, kind text, collected_at timestamptz,
  entries bigint, reason text, head text
);
create unlogged table medallion.stage_bronze (
  run uuid not null, sha256 text, line integer, entry integer, dia date, titulo text, data_vencimento text, data_base text,
  taxa_compra text, taxa_venda text, pu_compra text, pu_venda text, pu_base text, indice text, tipo_servico text, isin text
);
create unlogged table medallion.stage_bronze_reject (
  run uuid not null, sha256 text, line integer, entry integer, reason text, record text
);
create unlogged table medallion.stage_day (run uuid not null, dia date not null, seq bigint not null);
create unlogged table medallion.stage_silver (
  run uuid not null, tipo text, data_vencimento date, data_base date, taxa_compra numeric(18, 6), taxa_venda numeric(18, 6),
  pu_compra numeric(18, 6), pu_venda numeric(18, 6), pu_base numeric(18, 6), file_id bigint, line integer, entry integer
);
create unlogged table medallion.stage_silver_reject (
  run uuid not null, file_id bigint, line integer, entry integer, dia date, reason text
);
create unlogged table medallion.stage_gold (
  run uuid not null, "Data_Base" date, "Tipo" text, qtde_registros bigint, compra_manha_media double precision,
  venda_manha_media double precision, pu_compra_manha_media double precision, pu_venda_manha_media double precision,
  pu_base_manha_media double precision, percentual_diferenca_compra_venda double precision
);

-- A file that should never have been loaded: its rows leave Silver and Gold with the next run. `select medallion.retract('<sha256>')`
create function medallion.retract(content text) returns bigint language sql as $$
  with retracted as (
    update medallion.file set state = 'retracted' where sha256 = content and state = 'loaded' returning id),
  due as (
    insert into medallion.silver_due (dia)
    select distinct b.dia from medallion.bronze b join retracted r on r.id = b.file_id
    on conflict (dia) do update set seq = nextval('medallion.note')
    returning 1)
  select count(*) from due
$$;

-- All days again, after a change of the rules: writes nothing where the results are the same.
create function medallion.recompute() returns bigint language sql as $$
  with silver as (
    insert into medallion.silver_due (dia) select distinct dia from medallion.bronze
    on conflict (dia) do update set seq = nextval('medallion.note')),
  gold as (
    insert into medallion.gold_due (dia) select distinct dia from medallion.bronze
    on conflict (dia) do update set seq = nextval('medallion.note')
    returning 1)
  select count(*) from gold
$$;
