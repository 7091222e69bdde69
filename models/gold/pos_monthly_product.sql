/* models/gold/pos_monthly_product.sql
---
description = "Sales of the shop by month and product"
grain = ["month", "product_id"]
kept = "scoped"
scope = "month"
checks = ["not_null(month)", "unique(month, product_id)"]
columns.month = { description = "first day of the month" }
columns.product_id = { description = "the product, as the till names it" }
columns.lines = { unit = "lines", description = "distinct sale lines" }
columns.units = { unit = "pieces", description = "pieces sold minus pieces returned" }
columns.sales = { unit = "currency", description = "sum of the amounts, returns negative" }
--- */
SELECT
  CAST(date_trunc('month', event_date) AS DATE) AS month,
  product_id,
  sum(lines) AS lines,
  sum(units) AS units,
  sum(sales) AS sales
FROM gold.pos_daily_product
GROUP BY CAST(date_trunc('month', event_date) AS DATE), product_id
