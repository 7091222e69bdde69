/* models/gold/pos_monthly.sql
---
description = "Sales of the shop by month"
grain = ["month"]
kept = "scoped"
scope = "month"
checks = ["not_null(month)", "unique(month)"]
columns.month = { description = "first day of the month" }
columns.lines = { unit = "lines", description = "distinct sale lines" }
columns.units = { unit = "pieces", description = "pieces sold minus pieces returned" }
columns.sales = { unit = "currency", description = "sum of the amounts, returns negative" }
--- */
SELECT month, sum(lines) AS lines, sum(units) AS units, sum(sales) AS sales
FROM gold.pos_monthly_product
GROUP BY month
