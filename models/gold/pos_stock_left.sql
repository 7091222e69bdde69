/* models/gold/pos_stock_left.sql
---
description = "What is left in the shop of each product that was stocked or sold"
grain = ["product_id"]
kept = "view"
columns.product_id = { description = "the product, as the till names it" }
columns.opening = { unit = "pieces", description = "opening stock; null for a product without a stock row" }
columns.units_sold = { unit = "pieces", description = "pieces sold minus pieces returned" }
columns.stock_left = { unit = "pieces", description = "opening stock minus units sold; null without a stock row" }
--- */
SELECT
  coalesce(stock.product_id, sold.product_id) AS product_id,
  stock.quantity AS opening,
  coalesce(sold.units, 0) AS units_sold,
  stock.quantity - coalesce(sold.units, 0) AS stock_left
FROM (SELECT product_id, quantity FROM silver.opening_stock WHERE source = 'pos_sales') AS stock
FULL OUTER JOIN gold.pos_product AS sold ON stock.product_id = sold.product_id
