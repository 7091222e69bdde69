/* models/gold/inventory_change.sql
---
description = "What the stock changed by in all, by store and product"
grain = ["source", "store_id", "product_id"]
kept = "scoped"
scope = ["source", "store_id", "product_id"]
checks = ["not_null(store_id)", "not_null(product_id)", "unique(source, store_id, product_id)"]
columns.source = { description = "the stream of sales whose ids these are" }
columns.store_id = { description = "the store" }
columns.product_id = { description = "the product" }
columns.changes = { unit = "changes", description = "number of changes" }
columns.quantity_change = { unit = "pieces", description = "sum of the changes, negative when more went out than came in" }
--- */
SELECT source, store_id, product_id, sum(changes) AS changes, sum(quantity_change) AS quantity_change
FROM gold.inventory_change_day
GROUP BY source, store_id, product_id
