/* models/gold/ec_daily_product.sql
---
description = "Orders of the web shop by day, product and the order's own category"
grain = ["event_date", "product_id", "category"]
kept = "scoped"
scope = ["event_date", "product_id"]
checks = ["not_null(event_date)", "not_null(product_id)", "not_null(revenue)", "unique(event_date, product_id, category)", "range(revenue, 0, )"]
columns.event_date = { description = "day of the order" }
columns.product_id = { description = "the product" }
columns.category = { description = "category on the order; null where it has none" }
columns.orders = { unit = "orders", description = "distinct orders" }
columns.items = { unit = "pieces", description = "pieces ordered" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT
  event_date,
  product_id,
  category,
  count(*) AS orders,
  sum(quantity) AS items,
  sum(net_amount) AS revenue
FROM silver.sales_lines
WHERE source = 'sales_events'
GROUP BY event_date, product_id, category
