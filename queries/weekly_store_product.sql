/* queries/weekly_store_product.sql
---
question = "How did sales and stock of each product in each store do, week by week?"
params.year = { type = "int", default = "", description = "only this retail year; empty is all" }
params.week = { type = "int", default = "", description = "only this week of a year; empty is all" }
params.store = { type = "int", default = "", description = "only this store; empty is all" }
params.product = { type = "int", default = "", description = "only this product; empty is all" }
chart = { kind = "line", x = "wk_num", y = "total_sales_amt", series = "prod_key" }
--- */
SELECT
  yr_num,
  wk_num,
  store_key,
  prod_key,
  total_sales_qty,
  total_sales_amt,
  avg_sales_price,
  inventory_on_hand_qty,
  inventory_on_order_qty,
  total_cost,
  total_ship_cost,
  out_of_stock_pct,
  in_stock_pct,
  total_low_stock_impact,
  potential_low_stock_impact,
  no_stock_impact,
  low_stock_instances,
  no_stock_instances,
  weeks_of_supply
FROM gold.weekly_store_product
WHERE ($year IS NULL OR yr_num = $year) AND ($week IS NULL OR wk_num = $week)
  AND ($store IS NULL OR store_key = $store)
  AND ($product IS NULL OR prod_key = $product)
ORDER BY yr_num, wk_num, store_key, prod_key
