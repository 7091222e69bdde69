/* queries/weekly_worst_stores.sql
---
question = "Which stores are managed worst: where do most sales get lost to low or no stock?"
params.year = { type = "int", default = "", description = "only this retail year; empty is all" }
params.week = { type = "int", default = "", description = "only this week of a year; empty is all" }
params.top = { type = "int", default = "10", description = "how many" }
chart = { kind = "bar", x = "store_key", y = "lost_sales" }
--- */
SELECT
  lost.store_key,
  store.store_name,
  store.location,
  lost.low_stock_impact + lost.no_stock_impact AS lost_sales,
  lost.low_stock_impact,
  lost.no_stock_impact,
  lost.low_stock_days,
  lost.no_stock_days,
  lost.revenue
FROM (
  SELECT
    store_key,
    sum(potential_low_stock_impact) AS low_stock_impact,
    sum(no_stock_impact) AS no_stock_impact,
    sum(low_stock_instances) AS low_stock_days,
    sum(no_stock_instances) AS no_stock_days,
    sum(total_sales_amt) AS revenue
  FROM gold.weekly_store
  WHERE ($year IS NULL OR yr_num = $year) AND ($week IS NULL OR wk_num = $week)
  GROUP BY store_key
) AS lost
LEFT JOIN gold.dim_store AS store
  ON store.source = 'weekly_sales' AND store.store_id = CAST(lost.store_key AS VARCHAR)
ORDER BY lost_sales DESC, store_key
LIMIT $top
