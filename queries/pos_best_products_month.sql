/* queries/pos_best_products_month.sql
---
question = "Which products sell best in each month?"
params.top = { type = "int", default = "3", description = "how many of each month" }
params.by = { type = "string", default = "sales", description = "what counts: sales or units" }
chart = { kind = "bar", x = "m", y = "sales", series = "product" }
--- */
SELECT
  extract(YEAR FROM month) AS y,
  extract(MONTH FROM month) AS m,
  place,
  product_id AS product,
  units,
  CAST(sales AS DECIMAL(38, 2)) AS sales
FROM (
  SELECT
    month, product_id, units, sales,
    row_number() OVER (
      PARTITION BY month
      ORDER BY CASE WHEN $by = 'units' THEN units ELSE sales END DESC, product_id
    ) AS place
  FROM gold.pos_monthly_product
)
WHERE place <= $top
ORDER BY month, place
