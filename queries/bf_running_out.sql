/* queries/bf_running_out.sql
---
question = "Which products of the store chain run out within so many days, at the rate of the last seven days with sales?"
params.days = { type = "decimal(9,2)", default = "3", description = "listed is a stock that lasts for fewer days than this" }
params.store = { type = "string", default = "", description = "only this store; empty is all" }
chart = { kind = "bar", x = "product_id", y = "days_left", series = "store_id" }
--- */
WITH
  last_days AS (SELECT DISTINCT event_date FROM gold.bf_store_product_day ORDER BY event_date DESC LIMIT 7),
  rate AS (
    SELECT store_id, product_id, sum(units) AS units, (SELECT count(*) FROM last_days) AS days
    FROM gold.bf_store_product_day
    WHERE event_date IN (SELECT event_date FROM last_days)
    GROUP BY store_id, product_id
  )
SELECT
  stock.store_id,
  stock.product_id,
  product.product_name,
  stock.stock,
  ratio(rate.units, rate.days) AS units_a_day,
  ratio(stock.stock * rate.days, rate.units) AS days_left
FROM gold.bf_stock AS stock
JOIN rate ON rate.store_id = stock.store_id AND rate.product_id = stock.product_id
LEFT JOIN gold.dim_product AS product
  ON product.source = 'sales_transactions' AND product.product_id = stock.product_id
WHERE rate.units > 0
  AND stock.stock * rate.days < rate.units * $days
  AND ($store = '' OR stock.store_id = $store)
ORDER BY days_left, store_id, product_id
