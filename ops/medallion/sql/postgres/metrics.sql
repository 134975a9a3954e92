-- What Prometheus is told: one line a sample. All gauges: they are read from tables, not counted in a process.
with last as (
  select distinct on (job) * from medallion.run where finished_at is not null order by job, finished_at desc)
select 'medallion_run_finished_timestamp_seconds' as name, format('{step="%s"}', job) as labels, extract(epoch from finished_at)::float8 as value from last
union all select 'medallion_run_seconds', format('{step="%s"}', job), seconds from last
union all select 'medallion_run_count', format('{step="%s",what="%s"}', job, c.key), c.value::float8
  from last cross join lateral jsonb_each_text(counts) c
union all select 'medallion_runs_unfinished', '', count(*) from medallion.run where finished_at is null and started_at > now() - interval '1 day'
union all select 'medallion_files', format('{state="%s"}', state), count(*) from medallion.file group by state
union all select 'medallion_quarantine_files', format('{reason="%s"}', reason), count(*) from medallion.quarantine group by reason
union all select 'medallion_rows', '{layer="bronze"}', count(*) from medallion.bronze
union all select 'medallion_rows', '{layer="silver"}', count(*) from medallion.silver
union all select 'medallion_rows', '{layer="gold_ipca"}', count(*) from public.dadostesouroipca_gold
union all select 'medallion_rows', '{layer="gold_pre"}', count(*) from public.dadostesouropre_gold
union all select 'medallion_rejects', format('{layer="bronze",reason="%s"}', reason), count(*) from medallion.bronze_reject group by reason
union all select 'medallion_rejects', format('{layer="silver",reason="%s"}', reason), count(*) from medallion.silver_reject group by reason
order by 1, 2;
