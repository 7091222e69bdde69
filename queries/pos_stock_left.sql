/* queries/pos_stock_left.sql
---
question = "What is left in the shop of each product?"
chart = { kind = "bar", x = "product", y = "stock_left" }
--- */
SELECT product_id AS product, opening, units_sold, stock_left
FROM gold.pos_stock_left
ORDER BY product
