/* models/gold/bf_store_product_day.sql
---
description = "Sales of the store chain by day, store and product"
grain = ["event_date", "store_id", "product_id"]
kept = "scoped"
scope = ["event_date", "store_id", "product_id"]
partition_by = ["event_date"]
checks = ["not_null(event_date)", "not_null(store_id)", "not_null(product_id)", "unique(event_date, store_id, product_id)", "range(units, 0, )", "range(revenue, 0, )"]
columns.event_date = { description = "day of the sale" }
columns.store_id = { description = "the store" }
columns.product_id = { description = "the product" }
columns.sales = { unit = "sales", description = "distinct sales" }
columns.units = { unit = "pieces", description = "pieces sold" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT
  event_date,
  store_id,
  product_id,
  count(*) AS sales,
  sum(quantity) AS units,
  sum(net_amount) AS revenue
FROM silver.sales_lines
WHERE source = 'sales_transactions'
GROUP BY event_date, store_id, product_id
