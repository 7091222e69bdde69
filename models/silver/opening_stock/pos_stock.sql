/* models/silver/opening_stock/pos_stock.sql
---
description = "Opening stock of the till's shop"
entity = ["source", "product_id"]
--- */
SELECT
  'pos_sales' AS source,
  CAST(NULL AS VARCHAR) AS store_id,
  product AS product_id,
  CAST(stock_quantity AS BIGINT) AS quantity,
  _lineage
FROM bronze.pos_stock
