/* models/gold/dim_product_history/weekly_product.sql
---
description = "Products of the weekly report, by the date in the name of the file that names them"
--- */
WITH
  -- Of several rows of one instant the last one counts.
  observed AS (
    SELECT prod_key, seen_at, prod_name, category_name, subcategory_name, brand_name
    FROM (
      SELECT
        prod_key, _arrived_at AS seen_at, prod_name, category_name, subcategory_name, brand_name,
        row_number() OVER (PARTITION BY prod_key, _arrived_at ORDER BY _lineage DESC ROWS UNBOUNDED PRECEDING) AS place
      FROM bronze.weekly_product
    )
    WHERE place = 1
  ),
  compared AS (
    SELECT
      prod_key, seen_at, prod_name, category_name, subcategory_name, brand_name,
      row_number() OVER (PARTITION BY prod_key ORDER BY seen_at) AS nth,
      lag(prod_name) OVER (PARTITION BY prod_key ORDER BY seen_at) AS name_before,
      lag(category_name) OVER (PARTITION BY prod_key ORDER BY seen_at) AS category_before,
      lag(subcategory_name) OVER (PARTITION BY prod_key ORDER BY seen_at) AS subcategory_before,
      lag(brand_name) OVER (PARTITION BY prod_key ORDER BY seen_at) AS brand_before
    FROM observed
  )
SELECT
  'weekly_sales' AS source,
  CAST(prod_key AS VARCHAR) AS product_id,
  prod_name AS product_name,
  category_name AS category,
  subcategory_name AS subcategory,
  brand_name AS brand,
  CAST(NULL AS VARCHAR) AS supplier_id,
  CAST(NULL AS DECIMAL(18, 2)) AS list_price,
  CASE WHEN nth > 1 THEN seen_at END AS valid_from,
  lead(seen_at) OVER (PARTITION BY prod_key ORDER BY seen_at) AS valid_to
FROM compared
WHERE nth = 1
  OR (prod_name IS DISTINCT FROM name_before)
  OR (category_name IS DISTINCT FROM category_before)
  OR (subcategory_name IS DISTINCT FROM subcategory_before)
  OR (brand_name IS DISTINCT FROM brand_before)
