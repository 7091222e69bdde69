/* queries/ec_top_products.sql
---
question = "Which products of the web shop sell best?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
params.top = { type = "int", default = "10", description = "how many" }
params.by = { type = "string", default = "revenue", description = "what counts: revenue or items" }
chart = { kind = "bar", x = "product_id", y = "revenue" }
--- */
SELECT
  sold.product_id,
  product.product_name,
  product.category,
  sold.revenue,
  sold.orders,
  sold.items
FROM (
  SELECT product_id, CAST(sum(revenue) AS DECIMAL(38, 2)) AS revenue, sum(orders) AS orders, sum(items) AS items
  FROM gold.ec_daily_product
  WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
  GROUP BY product_id
) AS sold
LEFT JOIN gold.dim_product AS product
  ON product.source = 'sales_events' AND product.product_id = sold.product_id
ORDER BY CASE WHEN $by = 'items' THEN sold.items ELSE sold.revenue END DESC, sold.product_id
LIMIT $top
