/* queries/pos_low_stock.sql
---
question = "Which stocks of the shop are low: less is left than next month needs?"
chart = { kind = "bar", x = "product", y = "stock_left" }
--- */
SELECT product_id AS product, CAST(stock_left AS BIGINT) AS stock_left, month AS next_month, need
FROM gold.pos_refill
WHERE months_ahead = 1 AND stock_left < need
ORDER BY ratio(stock_left, need), product
