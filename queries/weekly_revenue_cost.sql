/* queries/weekly_revenue_cost.sql
---
question = "What came in and what did it cost, week by week?"
params.year = { type = "int", default = "", description = "only this retail year; empty is all" }
chart = { kind = "bar", x = "wk_num", y = "revenue", series = "yr_num" }
--- */
SELECT
  yr_num,
  wk_num,
  sum(total_sales_qty) AS units,
  sum(total_sales_amt) AS revenue,
  sum(total_cost) AS cost,
  sum(total_ship_cost) AS ship_cost,
  sum(total_sales_amt) - sum(total_cost) - sum(total_ship_cost) AS margin
FROM gold.weekly_store
WHERE $year IS NULL OR yr_num = $year
GROUP BY yr_num, wk_num
ORDER BY yr_num, wk_num
