/* models/gold/dim_product_history/sales_events.sql
---
description = "Products of the web shop, as its winning orders name them at their time"
--- */
WITH
  -- Of several orders at one instant only that with the greatest number counts.
  observed AS (
    SELECT product_id, event_at, product_name, category
    FROM (
      SELECT
        product_id, event_at, product_name, category,
        row_number() OVER (PARTITION BY product_id, event_at ORDER BY event_id DESC) AS place
      FROM silver.sales_lines
      WHERE source = 'sales_events'
    )
    WHERE place = 1
  ),
  compared AS (
    SELECT
      product_id, event_at, product_name, category,
      row_number() OVER (PARTITION BY product_id ORDER BY event_at) AS nth,
      lag(product_name) OVER (PARTITION BY product_id ORDER BY event_at) AS name_before,
      lag(category) OVER (PARTITION BY product_id ORDER BY event_at) AS category_before
    FROM observed
  )
SELECT
  'sales_events' AS source,
  product_id,
  product_name,
  category,
  CAST(NULL AS VARCHAR) AS subcategory,
  CAST(NULL AS VARCHAR) AS brand,
  CAST(NULL AS VARCHAR) AS supplier_id,
  CAST(NULL AS DECIMAL(18, 2)) AS list_price,
  CASE WHEN nth > 1 THEN event_at END AS valid_from,
  lead(event_at) OVER (PARTITION BY product_id ORDER BY event_at) AS valid_to
FROM compared
WHERE nth = 1 OR (product_name IS DISTINCT FROM name_before) OR (category IS DISTINCT FROM category_before)
