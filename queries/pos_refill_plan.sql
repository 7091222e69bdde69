/* queries/pos_refill_plan.sql
---
question = "What does the shop have to refill, and in which month?"
params.months = { type = "int", default = "12", description = "how many months ahead, at most 12" }
params.product = { type = "string", default = "", description = "only this product; empty is all" }
chart = { kind = "bar", x = "month", y = "refill", series = "product" }
--- */
-- A month begins with what the months before it leave over; what they lacked was refilled.
WITH plan AS (
  SELECT
    need.month,
    need.product_id,
    need.need,
    CASE
      WHEN need.months_ahead = 1 THEN CAST(stock.stock_left AS DOUBLE)
      WHEN stock.stock_left + need.need > needed THEN stock.stock_left + need.need - needed
      WHEN stock.stock_left + need.need <= needed THEN 0
    END AS stock_left
  FROM (
    SELECT *, sum(need) OVER (PARTITION BY product_id ORDER BY month) AS needed FROM gold.pos_need
  ) AS need
  JOIN gold.pos_stock_left AS stock ON stock.product_id = need.product_id
  WHERE need.months_ahead <= $months
)
SELECT
  extract(YEAR FROM month) AS y,
  extract(MONTH FROM month) AS m,
  month,
  product_id AS product,
  need,
  stock_left,
  CASE WHEN stock_left < need THEN need - stock_left WHEN stock_left >= need THEN 0 END AS refill
FROM plan
WHERE $product = '' OR product_id = $product
ORDER BY month, product
