/* models/gold/kpi_day_country.sql
---
description = "Invoices by day and country, as sums; the ratios are made when they are asked for"
grain = ["event_date", "country"]
kept = "scoped"
scope = "event_date"
checks = ["not_null(event_date)", "not_null(country)", "unique(event_date, country)"]
columns.event_date = { description = "day of the invoice" }
columns.country = { description = "the customer's country" }
columns.invoices = { unit = "invoices", description = "orders and returns" }
columns.orders = { unit = "invoices", description = "orders" }
columns.returns = { unit = "invoices", description = "returns" }
columns.total_sale_volume = { unit = "currency", description = "sum of the invoices' totals, returns negative" }
--- */
SELECT
  event_date,
  country,
  sum(invoices) AS invoices,
  sum(orders) AS orders,
  sum(returns) AS returns,
  sum(total_sale_volume) AS total_sale_volume
FROM gold.kpi_minute_country
GROUP BY event_date, country
