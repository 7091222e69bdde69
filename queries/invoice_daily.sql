/* queries/invoice_daily.sql
---
question = "What did the international shop sell each day, and what came back?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "line", x = "day", y = "net_sales" }
--- */
SELECT event_date AS day, invoices, net_sales, units_ordered, units_returned
FROM gold.invoice_daily
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
ORDER BY day
