/* models/gold/inventory_change_day.sql
---
description = "What the stock changed by, by day, store and product"
grain = ["source", "event_date", "store_id", "product_id"]
kept = "scoped"
scope = ["source", "event_date", "store_id", "product_id"]
partition_by = ["event_date"]
checks = ["not_null(event_date)", "not_null(store_id)", "not_null(product_id)", "unique(event_date, source, store_id, product_id)"]
columns.source = { description = "the stream of sales whose ids these are" }
columns.event_date = { description = "day of the changes" }
columns.store_id = { description = "the store" }
columns.product_id = { description = "the product" }
columns.changes = { unit = "changes", description = "number of changes" }
columns.quantity_change = { unit = "pieces", description = "sum of the changes, negative when more went out than came in" }
--- */
SELECT
  source,
  event_date,
  store_id,
  product_id,
  count(*) AS changes,
  sum(quantity_change) AS quantity_change
FROM silver.inventory_movements
GROUP BY source, event_date, store_id, product_id
