/* queries/weekly_waiting.sql
---
question = "Which sales and stock rows of the weekly report wait for the calendar to have their day?"
chart = { kind = "bar", x = "day", y = "sales" }
--- */
SELECT waiting.day, sum(waiting.sales) AS sales, sum(waiting.stock_rows) AS stock_rows
FROM (
  SELECT event_date AS day, count(*) AS sales, 0 AS stock_rows
  FROM silver.sales_lines
  WHERE source = 'weekly_sales'
  GROUP BY event_date
  UNION ALL
  SELECT event_date, 0, count(*)
  FROM silver.inventory_days
  WHERE source = 'weekly_sales'
  GROUP BY event_date
) AS waiting
LEFT JOIN silver.calendar AS calendar ON calendar.day = waiting.day
WHERE calendar.day IS NULL
GROUP BY waiting.day
ORDER BY day
