/* models/gold/dim_product_history/products.sql
---
description = "Products of the store chain, by the date or the arrival of the file that names them"
--- */
WITH
  -- Of several rows of one instant the last one counts.
  observed AS (
    SELECT product_id, seen_at, name, category, supplier_id, price
    FROM (
      SELECT
        product_id, _arrived_at AS seen_at, name, category, supplier_id, price,
        row_number() OVER (PARTITION BY product_id, _arrived_at ORDER BY _lineage DESC ROWS UNBOUNDED PRECEDING) AS place
      FROM bronze.products
    )
    WHERE place = 1
  ),
  compared AS (
    SELECT
      product_id, seen_at, name, category, supplier_id, price,
      row_number() OVER (PARTITION BY product_id ORDER BY seen_at) AS nth,
      lag(name) OVER (PARTITION BY product_id ORDER BY seen_at) AS name_before,
      lag(category) OVER (PARTITION BY product_id ORDER BY seen_at) AS category_before,
      lag(supplier_id) OVER (PARTITION BY product_id ORDER BY seen_at) AS supplier_before,
      lag(price) OVER (PARTITION BY product_id ORDER BY seen_at) AS price_before
    FROM observed
  )
SELECT
  'sales_transactions' AS source,
  product_id,
  name AS product_name,
  category,
  CAST(NULL AS VARCHAR) AS subcategory,
  CAST(NULL AS VARCHAR) AS brand,
  supplier_id,
  price AS list_price,
  CASE WHEN nth > 1 THEN seen_at END AS valid_from,
  lead(seen_at) OVER (PARTITION BY product_id ORDER BY seen_at) AS valid_to
FROM compared
WHERE nth = 1
  OR (name IS DISTINCT FROM name_before)
  OR (category IS DISTINCT FROM category_before)
  OR (supplier_id IS DISTINCT FROM supplier_before)
  OR (price IS DISTINCT FROM price_before)
