/* models/gold/pos_daily_product.sql
---
description = "Sales of the shop by day and product"
grain = ["event_date", "product_id"]
kept = "scoped"
scope = "event_date"
checks = ["not_null(event_date)", "unique(event_date, product_id)"]
columns.event_date = { description = "day of the sale" }
columns.product_id = { description = "the product, as the till names it" }
columns.lines = { unit = "lines", description = "distinct sale lines" }
columns.units = { unit = "pieces", description = "pieces sold minus pieces returned" }
columns.sales = { unit = "currency", description = "sum of the amounts, returns negative" }
--- */
SELECT
  event_date,
  product_id,
  count(*) AS lines,
  sum(CASE WHEN kind = 'RETURN' THEN -quantity ELSE quantity END) AS units,
  sum(net_amount) AS sales
FROM silver.sales_lines
WHERE source = 'pos_sales'
GROUP BY event_date, product_id
