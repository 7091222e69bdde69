/* models/silver/sales_lines/weekly_sales.sql
---
description = "Sales lines of the weekly report: a later file's version wins, also with another day"
entity = ["source", "event_id"]
--- */
SELECT
  'weekly_sales' AS source,
  CAST(trans_id AS VARCHAR) AS event_id,
  '1' AS line_id,
  -- The hour places the line within its day and never moves it to another one.
  to_timestamp_seconds(
    CAST(CAST(trans_dt AS INT) AS BIGINT) * 86400 + CASE WHEN trans_time BETWEEN 0 AND 23 THEN trans_time ELSE 0 END * 3600
  ) AS event_at,
  trans_dt AS event_date,
  CAST(NULL AS TIMESTAMP) AS version_at,
  CAST(store_key AS VARCHAR) AS store_id,
  CAST(NULL AS VARCHAR) AS country,
  'store' AS channel,
  CAST(NULL AS VARCHAR) AS customer_id,
  CAST(prod_key AS VARCHAR) AS product_id,
  CAST(NULL AS VARCHAR) AS product_name,
  CAST(NULL AS VARCHAR) AS category,
  CASE WHEN sales_qty < 0 THEN 'RETURN' ELSE 'ORDER' END AS kind,
  abs(CAST(sales_qty AS BIGINT)) AS quantity,
  sales_price AS unit_price,
  sales_amt AS net_amount,
  discount,
  sales_cost AS cost,
  ship_cost,
  _lineage
FROM bronze.weekly_sales
