/* queries/weekly_counts.sql
---
question = "How many sales and stock rows does the weekly report count, and how many of its sales are set aside?"
chart = { kind = "number", x = "quarantined_sales", y = "sales" }
--- */
SELECT *
FROM (
  SELECT
    (SELECT count(*) FROM silver.sales_lines WHERE source = 'weekly_sales') AS sales,
    (SELECT count(*) FROM silver.inventory_days WHERE source = 'weekly_sales') AS stock_rows,
    (SELECT count(*) FROM quarantine.weekly_sales WHERE NOT _mended) AS quarantined_sales
)
WHERE sales + stock_rows + quarantined_sales > 0
