/* queries/bf_top_products.sql
---
question = "Which products of the store chain sell best?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
params.top = { type = "int", default = "10", description = "how many" }
params.by = { type = "string", default = "revenue", description = "what counts: revenue or units" }
chart = { kind = "bar", x = "product_id", y = "revenue" }
--- */
SELECT
  sold.product_id,
  product.product_name,
  product.category,
  sold.units,
  sold.revenue
FROM (
  SELECT product_id, sum(units) AS units, CAST(sum(revenue) AS DECIMAL(38, 2)) AS revenue
  FROM gold.bf_product_day
  WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
  GROUP BY product_id
) AS sold
LEFT JOIN gold.dim_product AS product
  ON product.source = 'sales_transactions' AND product.product_id = sold.product_id
ORDER BY CASE WHEN $by = 'units' THEN sold.units ELSE sold.revenue END DESC, sold.product_id
LIMIT $top
