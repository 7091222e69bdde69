/* models/gold/ec_daily_category.sql
---
description = "Orders of the web shop by day and the order's own category"
grain = ["event_date", "category"]
kept = "scoped"
scope = "event_date"
checks = ["not_null(event_date)", "not_null(revenue)", "unique(event_date, category)"]
columns.event_date = { description = "day of the order" }
columns.category = { description = "category on the order; null where it has none" }
columns.orders = { unit = "orders", description = "distinct orders" }
columns.items = { unit = "pieces", description = "pieces ordered" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT event_date, category, sum(orders) AS orders, sum(items) AS items, sum(revenue) AS revenue
FROM gold.ec_daily_product
GROUP BY event_date, category
