#!/bin/bash
# Runs once, when the database is made. Four roles, each with what it needs and no more:
#   medallion  owns the database of the layers
#   sluice     may replicate and connect; reads the Gold tables alone (publication.sql)
#   airflow    owns Airflow's own database
#   exporter   reads the server's statistics, for postgres_exporter
set -euo pipefail
secret() { cat "/run/secrets/postgres_$1"; }
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" \
  -v medallion="$(secret medallion)" -v sluice="$(secret sluice)" -v airflow="$(secret airflow)" \
  -v exporter="$(secret exporter)" <<'SQL'
create role medallion login password :'medallion';
create role sluice login replication password :'sluice' connection limit 8;
create role airflow login password :'airflow';
create role exporter login password :'exporter' connection limit 4;
grant pg_monitor to exporter;
create database gold owner medallion;
create database airflow owner airflow;
revoke connect, temporary on database gold, airflow, postgres from public;
grant connect on database gold to sluice;
grant connect on database postgres to exporter;
\connect gold
revoke all on schema public from public;
grant usage, create on schema public to medallion;
grant usage on schema public to sluice;
SQL
