/* queries/ec_counts.sql
---
question = "How many orders of the web shop are counted, how many messages are set aside, and how many came in all?"
chart = { kind = "number", x = "quarantined", y = "orders" }
--- */
SELECT *
FROM (
  SELECT
    (SELECT count(*) FROM silver.sales_lines WHERE source = 'sales_events') AS orders,
    (SELECT count(*) FROM quarantine.sales_events WHERE NOT _mended) AS quarantined,
    (SELECT count(*) FROM bronze.sales_events WHERE _mends IS NULL) + (SELECT count(*) FROM quarantine.sales_events) AS events
)
WHERE events > 0
