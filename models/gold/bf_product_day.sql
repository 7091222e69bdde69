/* models/gold/bf_product_day.sql
---
description = "Sales of the store chain by day and product"
grain = ["event_date", "product_id"]
kept = "scoped"
scope = ["event_date", "product_id"]
checks = ["not_null(event_date)", "not_null(product_id)", "unique(event_date, product_id)"]
columns.event_date = { description = "day of the sale" }
columns.product_id = { description = "the product" }
columns.sales = { unit = "sales", description = "distinct sales" }
columns.units = { unit = "pieces", description = "pieces sold" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT event_date, product_id, sum(sales) AS sales, sum(units) AS units, sum(revenue) AS revenue
FROM gold.bf_store_product_day
GROUP BY event_date, product_id
