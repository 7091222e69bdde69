/* models/gold/dim_date.sql
---
description = "Every day from the first to the last that anything happened on, or that the retail calendar has"
grain = ["day"]
kept = "view"
columns.day = { description = "the day" }
columns.year = { description = "its year" }
columns.quarter = { description = "its quarter, 1 to 4" }
columns.month = { description = "its month, 1 to 12" }
columns.month_start = { description = "first day of its month" }
columns.iso_week = { description = "its week of ISO 8601" }
columns.weekday = { description = "its day of the week, 1 Monday to 7 Sunday" }
columns.is_weekend = { description = "whether it is a Saturday or a Sunday" }
columns.yr_num = { description = "its retail year; null where the calendar lacks it" }
columns.wk_num = { description = "its week of the retail year; null where the calendar lacks it" }
--- */
WITH
  span AS (
    SELECT min(day) AS first, max(day) AS last
    FROM (
      SELECT event_date AS day FROM silver.sales_lines
      UNION ALL SELECT event_date FROM silver.inventory_movements
      UNION ALL SELECT event_date FROM silver.inventory_days
      UNION ALL SELECT day FROM silver.calendar
    )
  ),
  days AS (
    SELECT CAST(unnest(generate_series(first, last, INTERVAL '1' DAY)) AS DATE) AS day
    FROM span
    WHERE first IS NOT NULL
  )
SELECT
  days.day,
  CAST(extract(YEAR FROM days.day) AS INT) AS year,
  CAST(extract(QUARTER FROM days.day) AS INT) AS quarter,
  CAST(extract(MONTH FROM days.day) AS INT) AS month,
  CAST(date_trunc('month', days.day) AS DATE) AS month_start,
  CAST(extract(WEEK FROM days.day) AS INT) AS iso_week,
  CAST(extract(ISODOW FROM days.day) AS INT) AS weekday,
  extract(ISODOW FROM days.day) >= 6 AS is_weekend,
  calendar.yr_num,
  calendar.wk_num
FROM days
LEFT JOIN silver.calendar AS calendar ON calendar.day = days.day
