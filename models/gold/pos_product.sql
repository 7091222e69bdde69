/* models/gold/pos_product.sql
---
description = "Sales and stock of the shop by product: a row for each that was sold or has an opening stock"
grain = ["product_id"]
kept = "scoped"
scope = "product_id"
checks = ["unique(product_id)"]
columns.product_id = { description = "the product, as the till names it" }
columns.lines = { unit = "lines", description = "distinct sale lines; 0 for a product that was never sold" }
columns.units = { unit = "pieces", description = "pieces sold minus pieces returned" }
columns.sales = { unit = "currency", description = "sum of the amounts, returns negative" }
columns.opening = { unit = "pieces", description = "opening stock; null for a product without a stock row" }
--- */
SELECT product_id, sum(lines) AS lines, sum(units) AS units, sum(sales) AS sales, sum(opening) AS opening
FROM (
  SELECT product_id, lines, units, sales, CAST(NULL AS BIGINT) AS opening FROM gold.pos_monthly_product
  UNION ALL
  SELECT product_id, 0, 0, 0, quantity FROM silver.opening_stock WHERE source = 'pos_sales'
)
GROUP BY product_id
