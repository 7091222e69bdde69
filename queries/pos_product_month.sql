/* queries/pos_product_month.sql
---
question = "What did the shop sell of each product in each month?"
params.product = { type = "string", default = "", description = "only this product; empty is all" }
chart = { kind = "line", x = "m", y = "sales", series = "product" }
--- */
SELECT
  extract(YEAR FROM month) AS y,
  extract(MONTH FROM month) AS m,
  product_id AS product,
  units,
  CAST(sales AS DECIMAL(38, 2)) AS sales
FROM gold.pos_monthly_product
WHERE $product = '' OR product_id = $product
ORDER BY month, product
