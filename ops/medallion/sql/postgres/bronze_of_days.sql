-- What Silver reads: the rows of the days that are due.
select b.file_id, b.line, b.entry, b.dia, t.tipo, f.kind, f.collected_at,
  b.data_vencimento, b.taxa_compra, b.taxa_venda, b.pu_compra, b.pu_venda, b.pu_base
from medallion.bronze b
join medallion.file f on f.id = b.file_id and f.state = 'loaded'
-- The service puts the year behind the title: Tesouro IPCA+ 2029.
join medallion.titulo t on t.titulo = regexp_replace(b.titulo, '\s+[0-9]{4}$', '')
join medallion.stage_day d on d.dia = b.dia and d.run = '{run}'
