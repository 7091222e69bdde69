/* models/silver/opening_stock/opening_stock.sql
---
description = "Opening stock of the store chain"
entity = ["source", "store_id", "product_id"]
--- */
SELECT
  'sales_transactions' AS source,
  store_id,
  product_id,
  CAST(quantity AS BIGINT) AS quantity,
  _lineage
FROM bronze.opening_stock
