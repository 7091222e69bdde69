/* queries/invoice_kpi_country.sql
---
question = "Which countries buy most, and how much do they send back?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "bar", x = "country", y = "total_sale_volume" }
--- */
SELECT
  country,
  sum(invoices) AS invoices,
  sum(total_sale_volume) AS total_sale_volume,
  ratio(sum(returns), sum(invoices)) AS rate_of_return,
  ratio(sum(total_sale_volume), sum(invoices)) AS average_transaction_size
FROM gold.kpi_day_country
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
GROUP BY country
ORDER BY total_sale_volume DESC, country
