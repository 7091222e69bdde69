/* queries/pos_low_stock.sql
---
question = "Which products will be sold out soon, at the rate of the last three months with sales?"
params.months = { type = "decimal(6,2)", default = "1", description = "low is a stock that lasts for fewer months than this" }
chart = { kind = "bar", x = "product", y = "months_left" }
--- */
WITH
  months AS (SELECT DISTINCT month FROM gold.pos_monthly ORDER BY month DESC LIMIT 3),
  rate AS (
    SELECT product_id, sum(units) AS units, (SELECT count(*) FROM months) AS months
    FROM gold.pos_monthly_product
    WHERE month IN (SELECT month FROM months)
    GROUP BY product_id
  )
SELECT
  stock.product_id AS product,
  stock.stock_left,
  ratio(rate.units, rate.months, 1) AS units_a_month,
  ratio(stock.stock_left * rate.months, rate.units, 1) AS months_left
FROM gold.pos_stock_left AS stock
JOIN rate ON rate.product_id = stock.product_id
WHERE stock.stock_left * rate.months < rate.units * $months
ORDER BY months_left, product
