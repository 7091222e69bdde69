/* models/gold/kiosk_daily.sql
---
description = "Kiosk sales by day and article"
grain = ["event_date", "article"]
kept = "scoped"
scope = "event_date"
checks = ["not_null(article)", "unique(event_date, article)"]
columns.event_date = { description = "day of the sale" }
columns.article = { description = "what was sold" }
columns.pieces = { unit = "pieces", description = "pieces sold" }
columns.sales = { unit = "EUR", description = "amount sold" }
--- */
SELECT event_date, product_id AS article, sum(quantity) AS pieces, sum(net_amount) AS sales
FROM silver.sales_lines
WHERE source = 'kiosk_sales'
GROUP BY event_date, product_id
