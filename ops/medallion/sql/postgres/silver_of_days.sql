-- What Gold reads: Silver's rows of the days that are due.
select s.tipo, s.data_vencimento, s.data_base, s.taxa_compra, s.taxa_venda, s.pu_compra, s.pu_venda, s.pu_base
from medallion.silver s join medallion.stage_day d on d.dia = s.data_base and d.run = '{run}'
