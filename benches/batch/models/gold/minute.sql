/* models/gold/minute.sql
---
description = "Sales by minute and store"
grain = ["w", "store_id"]
kept = "scoped"
scope = ["event_date", "w"]
partition_by = ["event_date"]
--- */
SELECT event_date, date_trunc('minute', "timestamp") AS w, store_id, count(*) AS n, sum(revenue) AS rev
FROM silver.sales
GROUP BY event_date, date_trunc('minute', "timestamp"), store_id
