/* models/gold/ec_daily.sql
---
description = "Orders of the web shop by day"
grain = ["event_date"]
kept = "scoped"
scope = "event_date"
checks = ["not_null(event_date)", "not_null(revenue)", "unique(event_date)"]
columns.event_date = { description = "day of the order" }
columns.orders = { unit = "orders", description = "distinct orders" }
columns.items = { unit = "pieces", description = "pieces ordered" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT event_date, sum(orders) AS orders, sum(items) AS items, sum(revenue) AS revenue
FROM gold.ec_daily_product
GROUP BY event_date
