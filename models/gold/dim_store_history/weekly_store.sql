/* models/gold/dim_store_history/weekly_store.sql
---
description = "Stores of the weekly report, by the date in the name of the file that names them"
--- */
WITH
  -- Of several rows of one instant the last one counts.
  observed AS (
    SELECT store_key, seen_at, store_num, store_desc, city, region, cntry_nm
    FROM (
      SELECT
        store_key, _arrived_at AS seen_at, store_num, store_desc, city, region, cntry_nm,
        row_number() OVER (PARTITION BY store_key, _arrived_at ORDER BY _lineage DESC ROWS UNBOUNDED PRECEDING) AS place
      FROM bronze.weekly_store
    )
    WHERE place = 1
  ),
  compared AS (
    SELECT
      store_key, seen_at, store_num, store_desc, city, region, cntry_nm,
      row_number() OVER (PARTITION BY store_key ORDER BY seen_at) AS nth,
      lag(store_num) OVER (PARTITION BY store_key ORDER BY seen_at) AS number_before,
      lag(store_desc) OVER (PARTITION BY store_key ORDER BY seen_at) AS name_before,
      lag(city) OVER (PARTITION BY store_key ORDER BY seen_at) AS city_before,
      lag(region) OVER (PARTITION BY store_key ORDER BY seen_at) AS region_before,
      lag(cntry_nm) OVER (PARTITION BY store_key ORDER BY seen_at) AS country_before
    FROM observed
  )
SELECT
  'weekly_sales' AS source,
  CAST(store_key AS VARCHAR) AS store_id,
  store_num AS store_number,
  store_desc AS store_name,
  city AS location,
  region,
  cntry_nm AS country,
  CAST(NULL AS VARCHAR) AS manager,
  CASE WHEN nth > 1 THEN seen_at END AS valid_from,
  lead(seen_at) OVER (PARTITION BY store_key ORDER BY seen_at) AS valid_to
FROM compared
WHERE nth = 1
  OR (store_num IS DISTINCT FROM number_before)
  OR (store_desc IS DISTINCT FROM name_before)
  OR (city IS DISTINCT FROM city_before)
  OR (region IS DISTINCT FROM region_before)
  OR (cntry_nm IS DISTINCT FROM country_before)
