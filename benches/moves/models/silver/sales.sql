/* models/silver/sales.sql
---
description = "The latest version of each sale, which may be of another day than the one before"
grain = ["transaction_id"]
kept = "latest"
entity = ["transaction_id"]
partition_by = ["event_date"]
checks = ["not_null(transaction_id)", "unique(transaction_id)"]
columns.revenue = { unit = "currency", description = "quantity times price" }
--- */
SELECT
  transaction_id, product_id, "timestamp", quantity, unit_price, store_id,
  CAST(unit_price * CAST(quantity AS DECIMAL(10, 0)) AS DECIMAL(18, 2)) AS revenue,
  CAST("timestamp" AS DATE) AS event_date,
  _lineage
FROM bronze.sales_transactions
