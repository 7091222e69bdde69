/* queries/dim_product.sql
---
question = "What are the products, as they are now?"
params.source = { type = "string", default = "", description = "only this source; empty is all" }
chart = { kind = "bar", x = "category", y = "product_id" }
--- */
SELECT source, product_id, product_name, category, subcategory, brand, supplier_id, list_price, valid_from
FROM gold.dim_product
WHERE $source = '' OR source = $source
ORDER BY source, product_id
