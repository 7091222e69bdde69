/* queries/pos_stock_left.sql
---
question = "What is left in the shop of each product?"
chart = { kind = "bar", x = "product", y = "stock_left" }
--- */
SELECT product_id AS product, opening, units AS units_sold, opening - units AS stock_left
FROM gold.pos_product
ORDER BY product
