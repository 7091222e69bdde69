/* queries/pos_product.sql
---
question = "What did the shop sell of each product, and what is left of it?"
chart = { kind = "bar", x = "product", y = "sales" }
--- */
SELECT
  sold.product_id AS product,
  sold.units,
  CAST(sold.sales AS DECIMAL(38, 2)) AS sales,
  stock.stock_left
FROM gold.pos_product AS sold
LEFT JOIN gold.pos_stock_left AS stock ON stock.product_id = sold.product_id
ORDER BY product
