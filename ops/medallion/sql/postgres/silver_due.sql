-- The days of this run, fixed in staging: what is noted later belongs to the next run.
insert into medallion.stage_day (run, dia, seq) select current_setting('medallion.run')::uuid, dia, seq from medallion.silver_due;
select count(*) as days from medallion.stage_day where run = current_setting('medallion.run')::uuid;
