/* models/gold/fct_inventory.sql
---
description = "Stock of each product in each store at the end of a day: as reported, or as opening stock and changes come to"
grain = ["source", "event_date", "store_id", "product_id"]
kept = "view"
columns.source = { description = "the stream of sales whose ids these are" }
columns.event_date = { description = "the day; null for the stock before the first change" }
columns.store_id = { description = "the store; null where the source is one shop" }
columns.product_id = { description = "the product" }
columns.on_hand = { unit = "pieces", description = "pieces on hand at the end of the day" }
columns.on_order = { unit = "pieces", description = "pieces on order; null where the source does not say" }
columns.is_out_of_stock = { description = "whether the source says so; where it does not, whether nothing was left" }
--- */
SELECT source, event_date, store_id, product_id, on_hand, on_order, is_out_of_stock
FROM silver.inventory_days
UNION ALL
SELECT source, CAST(NULL AS DATE), store_id, product_id, quantity, CAST(NULL AS BIGINT), quantity <= 0
FROM silver.opening_stock
UNION ALL
SELECT source, event_date, store_id, product_id, on_hand, CAST(NULL AS BIGINT), on_hand <= 0
FROM (
  SELECT
    changed.source,
    changed.event_date,
    changed.store_id,
    changed.product_id,
    coalesce(opened.quantity, 0) + sum(changed.quantity_change) OVER (
      PARTITION BY changed.source, changed.store_id, changed.product_id
      ORDER BY changed.event_date
    ) AS on_hand
  FROM gold.inventory_change_day AS changed
  LEFT JOIN silver.opening_stock AS opened
    ON opened.source = changed.source
    AND opened.store_id = changed.store_id
    AND opened.product_id = changed.product_id
)
