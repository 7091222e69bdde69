/* models/gold/kpi_minute_country.sql
---
description = "Invoices by minute and country, as sums; the ratios are made when they are asked for"
grain = ["window_start", "country"]
kept = "scoped"
scope = ["event_date", "window_start"]
checks = ["not_null(window_start)", "not_null(country)", "unique(event_date, window_start, country)"]
publish.window = "window_start"
publish.width = "1m"
publish.stream = "invoices"
publish.lateness = "10m"
publish.figures.opm = "invoices"
publish.figures.total_sale_volume = "total_sale_volume"
publish.figures.rate_of_return = "ratio(returns, invoices)"
publish.figures.average_transaction_size = "ratio(total_sale_volume, invoices)"
columns.window_start = { description = "start of the minute, which ends before the next one" }
columns.event_date = { description = "day of the window" }
columns.country = { description = "the customer's country" }
columns.invoices = { unit = "invoices", description = "orders and returns" }
columns.orders = { unit = "invoices", description = "orders" }
columns.returns = { unit = "invoices", description = "returns" }
columns.total_sale_volume = { unit = "currency", description = "sum of the invoices' totals, returns negative" }
--- */
SELECT
  date_trunc('minute', invoiced_at) AS window_start,
  event_date,
  country,
  count(*) AS invoices,
  sum(CASE WHEN is_order THEN 1 ELSE 0 END) AS orders,
  sum(CASE WHEN is_return THEN 1 ELSE 0 END) AS returns,
  sum(total_cost) AS total_sale_volume
FROM silver.invoices
GROUP BY date_trunc('minute', invoiced_at), event_date, country
