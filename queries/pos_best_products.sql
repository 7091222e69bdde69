/* queries/pos_best_products.sql
---
question = "Which products sell best?"
params.top = { type = "int", default = "10", description = "how many" }
params.by = { type = "string", default = "sales", description = "what counts: sales or units" }
chart = { kind = "bar", x = "product", y = "sales" }
--- */
SELECT product_id AS product, units, CAST(sales AS DECIMAL(38, 2)) AS sales
FROM gold.pos_product
WHERE lines > 0
ORDER BY CASE WHEN $by = 'units' THEN units ELSE sales END DESC, product
LIMIT $top
