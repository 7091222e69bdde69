/* models/gold/daily.sql
---
description = "Sales by day and store"
grain = ["event_date", "store_id"]
kept = "scoped"
scope = "event_date"
--- */
SELECT event_date, store_id, count(*) AS n, sum(quantity) AS q, sum(revenue) AS rev
FROM silver.sales
GROUP BY event_date, store_id
