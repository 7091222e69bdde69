/* queries/ec_category.sql
---
question = "Which categories of the web shop sell best, by the category on the order?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
params.top = { type = "int", default = "10", description = "how many" }
chart = { kind = "bar", x = "category", y = "revenue" }
--- */
SELECT category, CAST(sum(revenue) AS DECIMAL(38, 2)) AS revenue, sum(orders) AS orders
FROM gold.ec_daily_category
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
GROUP BY category
ORDER BY revenue DESC, category
LIMIT $top
