-- The tables of the three layers. They are made here and nowhere else: Spark never creates, overwrites or drops one, because a
-- table that is dropped falls out of its publication without a word, and its readers lose it in the middle of a query.

create schema medallion;

-- ---------------------------------------------------------------- Raw: what has been seen in the landing folder

-- One row for each distinct content. A content is loaded once, under whatever names and however often it arrives.
create table medallion.file (
  id            bigint generated always as identity primary key,
  sha256        text        not null unique check (sha256 ~ '^[0-9a-f]{64}$'),
  path          text        not null,                  -- the name under which the content was first seen
  bytes         bigint      not null check (bytes >= 0),
  kind          text        not null check (kind in ('service', 'official', 'unknown')),
  collected_at  timestamptz not null,                  -- newest time at which somebody collected this content
  loaded_at     timestamptz not null default now(),
  entries       bigint      not null default 0,        -- records found in it, good and bad
  state         text        not null check (state in ('loaded', 'quarantined', 'retracted')),
  reason        text,
  check ((state = 'quarantined') = (reason is not null))
);

-- One row for each name, so that a run need not read again what it has read. No foreign key to the content: a name that
-- could not be read has none.
create table medallion.sighting (
  path        text        primary key,
  bytes       bigint      not null,
  modified_at timestamptz not null,
  sha256      text,
  seen_at     timestamptz not null default now()
);

-- Files that cannot be read: the reason, and the first bytes for whoever looks into it.
create table medallion.quarantine (
  path        text        primary key,
  sha256      text,
  bytes       bigint      not null,
  reason      text        not null,
  head        text        not null default '',
  at          timestamptz not null default now()
);

-- ---------------------------------------------------------------- Bronze: every record, as it came

create table medallion.bronze (
  file_id         bigint  not null references medallion.file (id),
  line            integer not null check (line >= 1),
  entry           integer not null check (entry >= 0),   -- position in the service's list; 0 for a line of the official history
  dia             date    not null,                      -- the base date, parsed: what the later layers are computed by
  titulo          text    not null,
  data_vencimento text,
  data_base       text    not null,
  taxa_compra     text,
  taxa_venda      text,
  pu_compra       text,
  pu_venda        text,
  pu_base         text,
  indice          text,
  tipo_servico    text,
  isin            text,
  loaded_at       timestamptz not null default now(),
  primary key (file_id, line, entry)
);
create index bronze_by_day on medallion.bronze (dia);

-- Records that do not fit the schema, with the reason and their text.
create table medallion.bronze_reject (
  file_id   bigint  not null references medallion.file (id),
  line      integer not null,
  entry     integer not null,
  reason    text    not null,
  record    text    not null,
  loaded_at timestamptz not null default now(),
  primary key (file_id, line, entry)
);

-- ---------------------------------------------------------------- Silver: one row for each bond and day

-- The titles that Gold is made of. All others stay in Bronze.
create table medallion.titulo (
  titulo text primary key,
  tipo   text not null unique
);
insert into medallion.titulo values ('Tesouro IPCA+', 'IPCA'), ('Tesouro Prefixado', 'PRE-FIXADOS');

create table medallion.silver (
  tipo            text           not null references medallion.titulo (tipo),
  data_vencimento date           not null,
  data_base       date           not null,
  taxa_compra     numeric(18, 6) not null,
  taxa_venda      numeric(18, 6) not null,
  pu_compra       numeric(18, 6) not null check (pu_compra > 0),
  pu_venda        numeric(18, 6) not null check (pu_venda > 0),
  pu_base         numeric(18, 6)          check (pu_base > 0),     -- the service has none
  file_id         bigint         not null references medallion.file (id),
  line            integer        not null,
  entry           integer        not null,
  updated_at      timestamptz    not null default now(),
  check (data_vencimento >= data_base),
  primary key (tipo, data_vencimento, data_base)
);
create index silver_by_day on medallion.silver (data_base);

create table medallion.silver_reject (
  file_id bigint  not null,
  line    integer not null,
  entry   integer not null,
  dia     date    not null,
  reason  text    not null,
  primary key (file_id, line, entry),
  foreign key (file_id, line, entry) references medallion.bronze
);
create index silver_reject_by_day on medallion.silver_reject (dia);

-- ---------------------------------------------------------------- Gold: what sluice streams

-- Names, order and types are the original's: readers of the lake depend on them.
create table public.dadostesouroipca_gold (
  "Data_Base" date not null,
  "Tipo" text not null,
  qtde_registros bigint,
  compra_manha_media double precision,
  venda_manha_media double precision,
  pu_compra_manha_media double precision,
  pu_venda_manha_media double precision,
  pu_base_manha_media double precision,
  percentual_diferenca_compra_venda double precision,
  primary key ("Data_Base", "Tipo")
);
create table public.dadostesouropre_gold (like public.dadostesouroipca_gold including all);
