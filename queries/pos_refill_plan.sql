/* queries/pos_refill_plan.sql
---
question = "What does the shop have to refill, and in which month?"
params.months = { type = "int", default = "12", description = "how many months ahead, at most 12" }
params.product = { type = "string", default = "", description = "only this product; empty is all" }
chart = { kind = "bar", x = "month", y = "refill", series = "product" }
--- */
SELECT
  extract(YEAR FROM month) AS y,
  extract(MONTH FROM month) AS m,
  month,
  product_id AS product,
  need,
  stock_left,
  refill
FROM gold.pos_refill
WHERE months_ahead <= $months AND ($product = '' OR product_id = $product)
ORDER BY month, product
