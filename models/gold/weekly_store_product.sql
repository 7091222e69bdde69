/* models/gold/weekly_store_product.sql
---
description = "Sales and stock by retail week, store and product: a row for each that has a sale or a stock row in the week"
grain = ["yr_num", "wk_num", "store_key", "prod_key"]
kept = "scoped"
scope = ["yr_num", "wk_num"]
partition_by = ["yr_num", "wk_num"]
checks = [
    "not_null(yr_num)",
    "not_null(wk_num)",
    "not_null(store_key)",
    "not_null(prod_key)",
    "unique(yr_num, wk_num, store_key, prod_key)",
    "range(out_of_stock_pct, 0, )",
    "range(low_stock_instances, 0, )",
    "range(no_stock_instances, 0, )",
]
columns.yr_num = { description = "retail year" }
columns.wk_num = { description = "week of the retail year" }
columns.store_key = { description = "the store" }
columns.prod_key = { description = "the product" }
columns.total_sales_qty = { unit = "pieces", description = "pieces sold in the week" }
columns.total_sales_amt = { unit = "currency", description = "amount sold in the week" }
columns.avg_sales_price = { unit = "currency", description = "total_sales_amt / total_sales_qty; null when no unit was sold" }
columns.inventory_on_hand_qty = { unit = "pieces", description = "on hand on the last day of the week that has a stock row; null without one" }
columns.inventory_on_order_qty = { unit = "pieces", description = "on order on the last day of the week that has a stock row; null without one" }
columns.total_cost = { unit = "currency", description = "cost of the goods sold in the week" }
columns.total_ship_cost = { unit = "currency", description = "cost of shipping in the week" }
columns.out_of_stock_pct = { unit = "percent", description = "100 x days out of stock / 7" }
columns.in_stock_pct = { unit = "percent", description = "100 minus out_of_stock_pct" }
columns.total_low_stock_impact = { unit = "days", description = "out-of-stock days plus low-stock days; a day can be both" }
columns.potential_low_stock_impact = { unit = "currency", description = "over low-stock days: amount sold minus on-hand quantity times the day's average price" }
columns.no_stock_impact = { unit = "currency", description = "amount sold on out-of-stock days" }
columns.low_stock_instances = { unit = "days", description = "days at whose end less was on hand than was sold that day" }
columns.no_stock_instances = { unit = "days", description = "days that the source says were out of stock" }
columns.weeks_of_supply = { unit = "weeks", description = "inventory_on_hand_qty / total_sales_qty; null when no unit was sold" }
--- */
WITH
  -- What each sale and each stock row says of its day. The calendar joins first, so that a week reads only its own days.
  facts AS (
    SELECT
      calendar.yr_num, calendar.wk_num, line.event_date,
      CAST(line.store_id AS INT) AS store_key,
      CAST(line.product_id AS INT) AS prod_key,
      CASE WHEN line.kind = 'RETURN' THEN -line.quantity ELSE line.quantity END AS units,
      line.net_amount AS amount,
      line.cost,
      line.ship_cost,
      CAST(NULL AS BIGINT) AS on_hand,
      CAST(NULL AS BIGINT) AS on_order,
      CAST(NULL AS BIGINT) AS is_out
    FROM silver.calendar AS calendar
    JOIN silver.sales_lines AS line ON line.event_date = calendar.day
    WHERE line.source = 'weekly_sales'
    UNION ALL
    SELECT
      calendar.yr_num, calendar.wk_num, stock.event_date,
      CAST(stock.store_id AS INT),
      CAST(stock.product_id AS INT),
      0, 0, 0, 0, stock.on_hand, stock.on_order, CASE WHEN stock.is_out_of_stock THEN 1 ELSE 0 END
    FROM silver.calendar AS calendar
    JOIN silver.inventory_days AS stock ON stock.event_date = calendar.day
    WHERE stock.source = 'weekly_sales'
  ),
  -- A day has at most one stock row, so that its greatest value is its value.
  days AS (
    SELECT
      yr_num, wk_num, event_date, store_key, prod_key,
      sum(units) AS units,
      sum(amount) AS amount,
      sum(cost) AS cost,
      sum(ship_cost) AS ship_cost,
      max(on_hand) AS on_hand,
      max(on_order) AS on_order,
      coalesce(max(is_out), 0) = 1 AS is_out
    FROM facts
    GROUP BY yr_num, wk_num, event_date, store_key, prod_key
  ),
  weeks AS (
    SELECT
      yr_num, wk_num, store_key, prod_key,
      sum(units) AS units,
      sum(amount) AS amount,
      sum(cost) AS cost,
      sum(ship_cost) AS ship_cost,
      last_value(on_hand ORDER BY event_date) FILTER (WHERE on_hand IS NOT NULL) AS on_hand,
      last_value(on_order ORDER BY event_date) FILTER (WHERE on_hand IS NOT NULL) AS on_order,
      count(*) FILTER (WHERE is_out) AS days_out,
      count(*) FILTER (WHERE on_hand < units) AS days_low,
      sum(amount) FILTER (WHERE is_out) AS amount_out,
      -- amount - on hand x (amount / units), over one denominator; rounded only at the tenth decimal.
      sum(ratio(amount * CAST(units - on_hand AS DECIMAL(19, 0)), units, 10)) FILTER (WHERE on_hand < units) AS amount_low
    FROM days
    GROUP BY yr_num, wk_num, store_key, prod_key
  )
SELECT
  yr_num,
  wk_num,
  store_key,
  prod_key,
  units AS total_sales_qty,
  CAST(amount AS DECIMAL(38, 2)) AS total_sales_amt,
  ratio(amount, units) AS avg_sales_price,
  on_hand AS inventory_on_hand_qty,
  on_order AS inventory_on_order_qty,
  CAST(cost AS DECIMAL(38, 2)) AS total_cost,
  CAST(ship_cost AS DECIMAL(38, 2)) AS total_ship_cost,
  ratio(100 * days_out, 7) AS out_of_stock_pct,
  ratio(100 * (7 - days_out), 7) AS in_stock_pct,
  days_out + days_low AS total_low_stock_impact,
  coalesce(amount_low, 0) AS potential_low_stock_impact,
  CAST(coalesce(amount_out, 0) AS DECIMAL(38, 2)) AS no_stock_impact,
  days_low AS low_stock_instances,
  days_out AS no_stock_instances,
  ratio(on_hand, units) AS weeks_of_supply
FROM weeks
