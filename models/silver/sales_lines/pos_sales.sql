/* models/silver/sales_lines/pos_sales.sql
---
description = "Till lines of the shop: a line's key is all of its fields, so an exact copy is the same line"
entity = ["source", "event_id", "line_id", "event_date"]
--- */
SELECT
  'pos_sales' AS source,
  CAST(sale_id AS VARCHAR) AS event_id,
  -- Each field is closed by a character that text fields rarely hold, and a null differs from an empty text.
  md5(concat(
    sale_id, '|', quantity, '|', unit_price, '|', sales, '|', sold_at, '|',
    length(product), ':', product, '|', coalesce(concat(length(address), ':', address), 'null')
  )) AS line_id,
  sold_at AS event_at,
  CAST(sold_at AS DATE) AS event_date,
  CAST(NULL AS TIMESTAMP) AS version_at,
  CAST(NULL AS VARCHAR) AS store_id,
  CAST(NULL AS VARCHAR) AS country,
  'store' AS channel,
  CAST(NULL AS VARCHAR) AS customer_id,
  product AS product_id,
  CAST(NULL AS VARCHAR) AS product_name,
  CAST(NULL AS VARCHAR) AS category,
  CASE WHEN quantity < 0 THEN 'RETURN' ELSE 'ORDER' END AS kind,
  abs(CAST(quantity AS BIGINT)) AS quantity,
  unit_price,
  sales AS net_amount,
  CAST(NULL AS DECIMAL(19, 3)) AS discount,
  CAST(NULL AS DECIMAL(19, 3)) AS cost,
  CAST(NULL AS DECIMAL(19, 3)) AS ship_cost,
  _lineage
FROM (
  SELECT
    sale_id, product, quantity, unit_price, sold_at, address, _lineage,
    -- The amount that the till sent stands, also where it is not quantity times price (the contract warns of those).
    coalesce(CAST(sales AS DECIMAL(29, 2)), unit_price * CAST(quantity AS DECIMAL(10, 0))) AS sales
  FROM bronze.pos_sales
)
