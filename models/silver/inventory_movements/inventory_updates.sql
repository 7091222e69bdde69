/* models/silver/inventory_movements/inventory_updates.sql
---
description = "Stock changes of the store chain: a message has no key, so each counts once, by its place in the topic or file"
--- */
SELECT
  'sales_transactions' AS source,
  _source AS origin,
  _partition AS origin_partition,
  _offset AS origin_offset,
  "timestamp" AS event_at,
  CAST("timestamp" AS DATE) AS event_date,
  store_id,
  product_id,
  CAST(quantity_change AS BIGINT) AS quantity_change
FROM bronze.inventory_updates
