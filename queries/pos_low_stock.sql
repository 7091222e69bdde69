/* queries/pos_low_stock.sql
---
question = "Which stocks of the shop are low: less is left than next month needs?"
chart = { kind = "bar", x = "product", y = "stock_left" }
--- */
SELECT need.product_id AS product, stock.stock_left, need.month AS next_month, need.need
FROM gold.pos_need AS need
JOIN gold.pos_stock_left AS stock ON stock.product_id = need.product_id
WHERE need.months_ahead = 1 AND stock.stock_left < need.need
ORDER BY ratio(stock.stock_left, need.need), product
