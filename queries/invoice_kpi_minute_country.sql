/* queries/invoice_kpi_minute_country.sql
---
question = "How do orders, sales and returns run in each country, minute by minute?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
params.country = { type = "string", default = "", description = "only this country; empty is all" }
chart = { kind = "line", x = "window_start", y = "total_sale_volume", series = "country" }
--- */
SELECT
  window_start,
  country,
  invoices AS opm,
  total_sale_volume,
  ratio(returns, invoices) AS rate_of_return,
  ratio(total_sale_volume, invoices) AS average_transaction_size
FROM gold.kpi_minute_country
WHERE ($from IS NULL OR event_date >= $from)
  AND ($to IS NULL OR event_date <= $to)
  AND ($country = '' OR country = $country)
ORDER BY window_start, country
