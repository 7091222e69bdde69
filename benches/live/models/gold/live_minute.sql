/* models/gold/live_minute.sql
---
description = "Sales of the store chain by minute, as sums"
grain = ["window_start"]
kept = "scoped"
scope = ["event_date", "window_start"]
checks = ["not_null(window_start)", "unique(event_date, window_start)"]
columns.window_start = { description = "start of the minute, which ends before the next one" }
columns.event_date = { description = "day of the window" }
columns.sales = { unit = "sales", description = "distinct sales" }
columns.units = { unit = "pieces", description = "pieces sold" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT
  date_trunc('minute', event_at) AS window_start,
  event_date,
  count(*) AS sales,
  sum(quantity) AS units,
  sum(net_amount) AS revenue
FROM silver.sales_lines
WHERE source = 'sales_transactions'
GROUP BY date_trunc('minute', event_at), event_date
