-- Run by the owner of the tables. With the publication made here, the role that sluice connects as needs neither ownership nor the
-- right to create anything.
do $$
begin
  if not exists (select from pg_publication where pubname = 'sluice_tesouro') then
    create publication sluice_tesouro for table public.dadostesouroipca_gold, public.dadostesouropre_gold
      with (publish_via_partition_root = true);
  end if;
end $$;
grant select on public.dadostesouroipca_gold, public.dadostesouropre_gold to sluice;
