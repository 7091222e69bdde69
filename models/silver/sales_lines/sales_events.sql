/* models/silver/sales_lines/sales_events.sql
---
description = "Orders of the web shop: one line an order; a correction can move it to another day"
entity = ["source", "event_id"]
version = "version_at"
gate = { max_loss = 0.05 }         # of a day: what was quarantined and not mended, and good orders that are missing here
--- */
SELECT
  'sales_events' AS source,
  order_id AS event_id,
  '1' AS line_id,
  order_timestamp AS event_at,
  CAST(order_timestamp AS DATE) AS event_date,
  coalesce(event_time, order_timestamp) AS version_at,
  CAST(NULL AS VARCHAR) AS store_id,
  country,
  'online' AS channel,
  customer_id,
  product_id,
  product_name,
  category,
  'ORDER' AS kind,
  CAST(quantity AS BIGINT) AS quantity,
  price AS unit_price,
  -- Two decimals times a whole number: the order's revenue is exact without rounding.
  price * CAST(quantity AS DECIMAL(10, 0)) AS net_amount,
  CAST(NULL AS DECIMAL(19, 3)) AS discount,
  CAST(NULL AS DECIMAL(19, 3)) AS cost,
  CAST(NULL AS DECIMAL(19, 3)) AS ship_cost,
  _lineage
FROM bronze.sales_events
