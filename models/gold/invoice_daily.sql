/* models/gold/invoice_daily.sql
---
description = "Invoices by day"
grain = ["event_date"]
kept = "scoped"
scope = "event_date"
checks = ["not_null(event_date)", "unique(event_date)"]
columns.event_date = { description = "day of the invoice" }
columns.invoices = { unit = "invoices", description = "orders and returns" }
columns.orders = { unit = "invoices", description = "orders" }
columns.returns = { unit = "invoices", description = "returns" }
columns.net_sales = { unit = "currency", description = "sum of the invoices' totals, returns negative" }
columns.units_ordered = { unit = "pieces", description = "pieces on orders" }
columns.units_returned = { unit = "pieces", description = "pieces on returns" }
--- */
SELECT
  event_date,
  count(*) AS invoices,
  sum(CASE WHEN is_order THEN 1 ELSE 0 END) AS orders,
  sum(CASE WHEN is_return THEN 1 ELSE 0 END) AS returns,
  sum(total_cost) AS net_sales,
  sum(CASE WHEN is_order THEN total_items ELSE 0 END) AS units_ordered,
  sum(CASE WHEN is_return THEN total_items ELSE 0 END) AS units_returned
FROM silver.invoices
GROUP BY event_date
