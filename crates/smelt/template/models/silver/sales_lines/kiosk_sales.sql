/* models/silver/sales_lines/kiosk_sales.sql
---
description = "Kiosk sales: one line a ticket"
entity = ["source", "event_id", "event_date"]
--- */
SELECT
  'kiosk_sales' AS source,
  ticket AS event_id,
  '1' AS line_id,
  sold_at AS event_at,
  CAST(sold_at AS DATE) AS event_date,
  CAST(NULL AS TIMESTAMP) AS version_at,
  'kiosk' AS store_id,
  'Germany' AS country,
  'store' AS channel,
  CAST(NULL AS VARCHAR) AS customer_id,
  article AS product_id,
  article AS product_name,
  CAST(NULL AS VARCHAR) AS category,
  'ORDER' AS kind,
  CAST(pieces AS BIGINT) AS quantity,
  price AS unit_price,
  price * CAST(pieces AS DECIMAL(10, 0)) AS net_amount,
  CAST(NULL AS DECIMAL(19, 3)) AS discount,
  CAST(NULL AS DECIMAL(19, 3)) AS cost,
  CAST(NULL AS DECIMAL(19, 3)) AS ship_cost,
  _lineage
FROM bronze.kiosk_sales
