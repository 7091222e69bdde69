/* queries/pos_monthly.sql
---
question = "What did the shop sell each month?"
chart = { kind = "bar", x = "m", y = "sales", series = "y" }
--- */
SELECT
  extract(YEAR FROM month) AS y,
  extract(MONTH FROM month) AS m,
  units,
  CAST(sales AS DECIMAL(38, 2)) AS sales
FROM gold.pos_monthly
ORDER BY month
