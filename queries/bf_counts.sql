/* queries/bf_counts.sql
---
question = "How many sales of the store chain are counted, and how many messages are set aside?"
chart = { kind = "number", x = "quarantined_sales", y = "sales" }
--- */
SELECT *
FROM (
  SELECT
    (SELECT count(*) FROM silver.sales_lines WHERE source = 'sales_transactions') AS sales,
    (SELECT count(*) FROM quarantine.sales_transactions WHERE NOT _mended) AS quarantined_sales,
    (SELECT count(*) FROM quarantine.inventory_updates WHERE NOT _mended) AS quarantined_updates
)
WHERE sales + quarantined_sales + quarantined_updates > 0
