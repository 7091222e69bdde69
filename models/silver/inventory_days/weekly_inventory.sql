/* models/silver/inventory_days/weekly_inventory.sql
---
description = "Stock rows of the weekly report: a later file's version wins"
entity = ["source", "event_date", "store_id", "product_id"]
--- */
SELECT
  'weekly_sales' AS source,
  cal_dt AS event_date,
  CAST(store_key AS VARCHAR) AS store_id,
  CAST(prod_key AS VARCHAR) AS product_id,
  CAST(inventory_on_hand_qty AS BIGINT) AS on_hand,
  CAST(inventory_on_order_qty AS BIGINT) AS on_order,
  out_of_stock_flg = 1 AS is_out_of_stock,
  CAST(waste_qty AS BIGINT) AS wasted,
  promotion_flg = 1 AS is_promoted,
  next_delivery_dt AS next_delivery,
  _lineage
FROM bronze.weekly_inventory
