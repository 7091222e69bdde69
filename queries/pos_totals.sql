/* queries/pos_totals.sql
---
question = "How much did the shop sell in all?"
chart = { kind = "number", x = "sale_lines", y = "sales" }
--- */
SELECT sum(lines) AS sale_lines, sum(units) AS units, CAST(sum(sales) AS DECIMAL(38, 2)) AS sales
FROM gold.pos_daily
HAVING count(*) > 0
