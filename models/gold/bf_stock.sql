/* models/gold/bf_stock.sql
---
description = "Stock level of the store chain by store and product: of every pair that was stocked or changed"
grain = ["store_id", "product_id"]
kept = "view"
columns.store_id = { description = "the store" }
columns.product_id = { description = "the product" }
columns.opening = { unit = "pieces", description = "opening stock; 0 for a pair without an opening row" }
columns.quantity_change = { unit = "pieces", description = "running sum of the changes; 0 without any" }
columns.stock = { unit = "pieces", description = "opening stock plus the changes" }
--- */
SELECT
  coalesce(opened.store_id, changed.store_id) AS store_id,
  coalesce(opened.product_id, changed.product_id) AS product_id,
  coalesce(opened.quantity, 0) AS opening,
  coalesce(changed.quantity_change, 0) AS quantity_change,
  coalesce(opened.quantity, 0) + coalesce(changed.quantity_change, 0) AS stock
FROM (SELECT * FROM silver.opening_stock WHERE source = 'sales_transactions') AS opened
FULL OUTER JOIN (SELECT * FROM gold.inventory_change WHERE source = 'sales_transactions') AS changed
  ON changed.store_id = opened.store_id AND changed.product_id = opened.product_id
