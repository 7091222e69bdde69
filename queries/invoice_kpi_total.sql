/* queries/invoice_kpi_total.sql
---
question = "How does the international shop do in all?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "number", x = "invoices", y = "total_sale_volume" }
--- */
SELECT
  sum(invoices) AS invoices,
  sum(total_sale_volume) AS total_sale_volume,
  ratio(sum(returns), sum(invoices)) AS rate_of_return,
  ratio(sum(total_sale_volume), sum(invoices)) AS average_transaction_size
FROM gold.kpi_minute
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
HAVING count(*) > 0
