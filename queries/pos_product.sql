/* queries/pos_product.sql
---
question = "What did the shop sell of each product, and what is left of it?"
chart = { kind = "bar", x = "product", y = "sales" }
--- */
SELECT product_id AS product, units, CAST(sales AS DECIMAL(38, 2)) AS sales, opening - units AS stock_left
FROM gold.pos_product
WHERE lines > 0
ORDER BY product
