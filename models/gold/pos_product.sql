/* models/gold/pos_product.sql
---
description = "Sales of the shop by product"
grain = ["product_id"]
kept = "scoped"
scope = "product_id"
checks = ["unique(product_id)"]
columns.product_id = { description = "the product, as the till names it" }
columns.lines = { unit = "lines", description = "distinct sale lines" }
columns.units = { unit = "pieces", description = "pieces sold minus pieces returned" }
columns.sales = { unit = "currency", description = "sum of the amounts, returns negative" }
--- */
SELECT product_id, sum(lines) AS lines, sum(units) AS units, sum(sales) AS sales
FROM gold.pos_monthly_product
GROUP BY product_id
