"""The table that most parts read, and what it is loaded with."""

TABLE = """
create table public.bench (id bigint primary key, a numeric, b numeric, c numeric, d numeric, e numeric, f numeric,
    day date not null, due date not null, kind text not null, at timestamptz not null) with (autovacuum_enabled = false)"""
# One transaction of a thousand rows: about 190 bytes a row on the wire.
LOAD = """
insert into public.bench
select i, (i %% 97) + 0.25, (i %% 89) + 0.125, 1000 + (i %% 1013) * 1.01, 990 + (i %% 1009) * 1.01, 980.5 + i %% 997, (i %% 31) / 7.0,
       date '2005-01-01' + (i %% 7000)::int, date '2030-01-01' + (i %% 300)::int, 'Tesouro IPCA+ ' || i %% 40, timestamptz '2026-01-01' + i * interval '1 second'
  from generate_series(%s::bigint, %s::bigint) i"""
# What the parts about growth and about one large transaction write: about 130 bytes a row on the wire.
NARROW = "create table {table} (id bigint primary key, v text) with (autovacuum_enabled = false)"
VALUE = "repeat('x', 60) || lpad(i::text, 40, '0')"
