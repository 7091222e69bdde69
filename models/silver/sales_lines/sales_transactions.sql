/* models/silver/sales_lines/sales_transactions.sql
---
description = "Sales of the store chain: one line a sale; a correction can move it to another day"
entity = ["source", "event_id"]
--- */
SELECT
  'sales_transactions' AS source,
  transaction_id AS event_id,
  '1' AS line_id,
  "timestamp" AS event_at,
  CAST("timestamp" AS DATE) AS event_date,
  CAST(NULL AS TIMESTAMP) AS version_at,
  store_id,
  CAST(NULL AS VARCHAR) AS country,
  'store' AS channel,
  CAST(NULL AS VARCHAR) AS customer_id,
  product_id,
  CAST(NULL AS VARCHAR) AS product_name,
  CAST(NULL AS VARCHAR) AS category,
  'ORDER' AS kind,
  CAST(quantity AS BIGINT) AS quantity,
  unit_price,
  unit_price * CAST(quantity AS DECIMAL(10, 0)) AS net_amount,
  CAST(NULL AS DECIMAL(19, 3)) AS discount,
  CAST(NULL AS DECIMAL(19, 3)) AS cost,
  CAST(NULL AS DECIMAL(19, 3)) AS ship_cost,
  _lineage
FROM bronze.sales_transactions
