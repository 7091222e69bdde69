/* queries/pos_yearly.sql
---
question = "What did the shop sell each year?"
chart = { kind = "bar", x = "y", y = "sales" }
--- */
SELECT extract(YEAR FROM month) AS y, sum(units) AS units, CAST(sum(sales) AS DECIMAL(38, 2)) AS sales
FROM gold.pos_monthly
GROUP BY y
ORDER BY y
