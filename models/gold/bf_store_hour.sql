/* models/gold/bf_store_hour.sql
---
description = "Sales of the store chain by hour and store"
grain = ["event_date", "hour", "store_id"]
kept = "scoped"
scope = ["event_date", "hour", "store_id"]
checks = ["not_null(event_date)", "not_null(hour)", "not_null(store_id)", "unique(event_date, hour, store_id)", "range(units, 0, )", "range(revenue, 0, )"]
columns.event_date = { description = "day of the hour" }
columns.hour = { description = "start of the hour, UTC" }
columns.store_id = { description = "the store" }
columns.sales = { unit = "sales", description = "distinct sales" }
columns.units = { unit = "pieces", description = "pieces sold" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT
  event_date,
  date_trunc('hour', event_at) AS hour,
  store_id,
  count(*) AS sales,
  sum(quantity) AS units,
  sum(net_amount) AS revenue
FROM silver.sales_lines
WHERE source = 'sales_transactions'
GROUP BY event_date, date_trunc('hour', event_at), store_id
