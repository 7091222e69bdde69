/* models/gold/pos_daily.sql
---
description = "Sales of the shop by day"
grain = ["event_date"]
kept = "scoped"
scope = "event_date"
checks = ["not_null(event_date)", "unique(event_date)"]
columns.event_date = { description = "day of the sale" }
columns.lines = { unit = "lines", description = "distinct sale lines" }
columns.units = { unit = "pieces", description = "pieces sold minus pieces returned" }
columns.sales = { unit = "currency", description = "sum of the amounts, returns negative" }
--- */
SELECT event_date, sum(lines) AS lines, sum(units) AS units, sum(sales) AS sales
FROM gold.pos_daily_product
GROUP BY event_date
