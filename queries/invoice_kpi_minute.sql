/* queries/invoice_kpi_minute.sql
---
question = "How do orders, sales and returns run, minute by minute?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "line", x = "window_start", y = "total_sale_volume" }
--- */
SELECT
  window_start,
  invoices AS opm,
  total_sale_volume,
  ratio(returns, invoices) AS rate_of_return,
  ratio(total_sale_volume, invoices) AS average_transaction_size
FROM gold.kpi_minute
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
ORDER BY window_start
