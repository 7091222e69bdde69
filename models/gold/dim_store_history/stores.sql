/* models/gold/dim_store_history/stores.sql
---
description = "Stores of the chain, by the date or the arrival of the file that names them"
--- */
WITH
  -- Of several rows of one instant the last one counts.
  observed AS (
    SELECT store_id, seen_at, location, manager
    FROM (
      SELECT
        store_id, _arrived_at AS seen_at, location, manager,
        row_number() OVER (PARTITION BY store_id, _arrived_at ORDER BY _lineage DESC ROWS UNBOUNDED PRECEDING) AS place
      FROM bronze.stores
    )
    WHERE place = 1
  ),
  compared AS (
    SELECT
      store_id, seen_at, location, manager,
      row_number() OVER (PARTITION BY store_id ORDER BY seen_at) AS nth,
      lag(location) OVER (PARTITION BY store_id ORDER BY seen_at) AS location_before,
      lag(manager) OVER (PARTITION BY store_id ORDER BY seen_at) AS manager_before
    FROM observed
  )
SELECT
  'sales_transactions' AS source,
  store_id,
  CAST(NULL AS VARCHAR) AS store_number,
  CAST(NULL AS VARCHAR) AS store_name,
  location,
  CAST(NULL AS VARCHAR) AS region,
  CAST(NULL AS VARCHAR) AS country,
  manager,
  CASE WHEN nth > 1 THEN seen_at END AS valid_from,
  lead(seen_at) OVER (PARTITION BY store_id ORDER BY seen_at) AS valid_to
FROM compared
WHERE nth = 1 OR (location IS DISTINCT FROM location_before) OR (manager IS DISTINCT FROM manager_before)
