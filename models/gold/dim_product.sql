/* models/gold/dim_product.sql
---
description = "Products as they are now"
grain = ["source", "product_id"]
kept = "view"
columns.source = { description = "the stream of sales whose ids these are" }
columns.product_id = { description = "the product, unique within its source" }
columns.product_name = { description = "its name" }
columns.category = { description = "its category" }
columns.subcategory = { description = "its subcategory; null where the source has none" }
columns.brand = { description = "its brand; null where the source has none" }
columns.supplier_id = { description = "who supplies it; null where the source does not say" }
columns.list_price = { unit = "currency", description = "price of one piece in the list of products; null where the price belongs to the sale" }
columns.valid_from = { description = "since when it is so; null: always" }
--- */
SELECT source, product_id, product_name, category, subcategory, brand, supplier_id, list_price, valid_from
FROM gold.dim_product_history
WHERE valid_to IS NULL
