/* queries/pos_daily.sql
---
question = "What did the shop sell each day?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "line", x = "day", y = "sales" }
--- */
SELECT event_date AS day, lines AS sale_lines, units, CAST(sales AS DECIMAL(38, 2)) AS sales
FROM gold.pos_daily
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
ORDER BY day
