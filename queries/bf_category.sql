/* queries/bf_category.sql
---
question = "What did the store chain sell of each category? Products that no dimension names yet are under none."
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "bar", x = "category", y = "revenue" }
--- */
SELECT product.category, sum(sold.units) AS units, CAST(sum(sold.revenue) AS DECIMAL(38, 2)) AS revenue
FROM gold.bf_product_day AS sold
LEFT JOIN gold.dim_product AS product
  ON product.source = 'sales_transactions' AND product.product_id = sold.product_id
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
GROUP BY product.category
ORDER BY revenue DESC, category
