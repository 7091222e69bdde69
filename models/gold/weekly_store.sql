/* models/gold/weekly_store.sql
---
description = "Sales and lost sales by retail week and store: sums over the products of gold.weekly_store_product"
grain = ["yr_num", "wk_num", "store_key"]
kept = "scoped"
scope = ["yr_num", "wk_num"]
checks = ["not_null(yr_num)", "not_null(wk_num)", "not_null(store_key)", "unique(yr_num, wk_num, store_key)"]
columns.yr_num = { description = "retail year" }
columns.wk_num = { description = "week of the retail year" }
columns.store_key = { description = "the store" }
columns.total_sales_qty = { unit = "pieces", description = "pieces sold in the week" }
columns.total_sales_amt = { unit = "currency", description = "amount sold in the week" }
columns.total_cost = { unit = "currency", description = "cost of the goods sold in the week" }
columns.total_ship_cost = { unit = "currency", description = "cost of shipping in the week" }
columns.potential_low_stock_impact = { unit = "currency", description = "over low-stock days of products: amount sold minus on-hand quantity times the day's average price" }
columns.no_stock_impact = { unit = "currency", description = "amount sold of products on days when they were out of stock" }
columns.low_stock_instances = { unit = "days", description = "days of products at whose end less was on hand than was sold that day" }
columns.no_stock_instances = { unit = "days", description = "days of products that the source says were out of stock" }
--- */
SELECT
  yr_num,
  wk_num,
  store_key,
  sum(total_sales_qty) AS total_sales_qty,
  sum(total_sales_amt) AS total_sales_amt,
  sum(total_cost) AS total_cost,
  sum(total_ship_cost) AS total_ship_cost,
  sum(potential_low_stock_impact) AS potential_low_stock_impact,
  sum(no_stock_impact) AS no_stock_impact,
  sum(low_stock_instances) AS low_stock_instances,
  sum(no_stock_instances) AS no_stock_instances
FROM gold.weekly_store_product
GROUP BY yr_num, wk_num, store_key
