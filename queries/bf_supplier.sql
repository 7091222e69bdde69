/* queries/bf_supplier.sql
---
question = "What did the store chain sell of each supplier? Products that no dimension names yet are under none."
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "bar", x = "supplier_id", y = "revenue" }
--- */
SELECT product.supplier_id, CAST(sum(sold.revenue) AS DECIMAL(38, 2)) AS revenue
FROM gold.bf_product_day AS sold
LEFT JOIN gold.dim_product AS product
  ON product.source = 'sales_transactions' AND product.product_id = sold.product_id
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
GROUP BY product.supplier_id
ORDER BY revenue DESC, supplier_id
