insert into medallion.stage_day (run, dia, seq) select current_setting('medallion.run')::uuid, dia, seq from medallion.gold_due;
select count(*) as days from medallion.stage_day where run = current_setting('medallion.run')::uuid;
