/* models/gold/kpi_minute.sql
---
description = "Invoices by minute, as sums; the ratios are made when they are asked for"
grain = ["window_start"]
kept = "scoped"
scope = ["event_date", "window_start"]
checks = ["not_null(window_start)", "unique(event_date, window_start)"]
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
columns.invoices = { unit = "invoices", description = "orders and returns" }
columns.orders = { unit = "invoices", description = "orders" }
columns.returns = { unit = "invoices", description = "returns" }
columns.total_sale_volume = { unit = "currency", description = "sum of the invoices' totals, returns negative" }
--- */
SELECT
  window_start,
  event_date,
  sum(invoices) AS invoices,
  sum(orders) AS orders,
  sum(returns) AS returns,
  sum(total_sale_volume) AS total_sale_volume
FROM gold.kpi_minute_country
GROUP BY window_start, event_date
