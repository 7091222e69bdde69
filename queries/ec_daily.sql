/* queries/ec_daily.sql
---
question = "What did the web shop sell each day?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "line", x = "order_date", y = "revenue" }
--- */
SELECT event_date AS order_date, CAST(revenue AS DECIMAL(38, 2)) AS revenue, orders, items
FROM gold.ec_daily
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
ORDER BY order_date
