/* queries/dim_product_history.sql
---
question = "What was each product called, and in which category was it, and when?"
params.source = { type = "string", default = "sales_events", description = "the source whose ids these are" }
params.product = { type = "string", default = "", description = "only this product; empty is all" }
chart = { kind = "bar", x = "category", y = "product_id" }
--- */
SELECT product_id, product_name, category, valid_from, valid_to
FROM gold.dim_product_history
WHERE source = $source AND ($product = '' OR product_id = $product)
ORDER BY product_id, valid_from NULLS FIRST
