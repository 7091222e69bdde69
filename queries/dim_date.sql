/* queries/dim_date.sql
---
question = "Which days are there, with quarter, weekend and retail week?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "bar", x = "day", y = "quarter" }
--- */
SELECT day, year, quarter, month, month_start, iso_week, weekday, is_weekend, yr_num, wk_num
FROM gold.dim_date
WHERE ($from IS NULL OR day >= $from) AND ($to IS NULL OR day <= $to)
ORDER BY day
