/* queries/bf_hour.sql
---
question = "What did the store chain sell in each hour?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "line", x = "hour", y = "revenue" }
--- */
SELECT hour, sum(sales) AS sales, sum(units) AS units, CAST(sum(revenue) AS DECIMAL(38, 2)) AS revenue
FROM gold.bf_store_hour
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
GROUP BY hour
ORDER BY hour
