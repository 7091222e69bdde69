/* models/gold/ec_country_customer.sql
---
description = "Orders of the web shop by the order's own country and customer"
grain = ["country", "customer_id"]
kept = "scoped"
scope = ["country", "customer_id"]
checks = ["not_null(customer_id)", "not_null(revenue)", "unique(country, customer_id)"]
columns.country = { description = "country on the order; null where it has none" }
columns.customer_id = { description = "the customer" }
columns.orders = { unit = "orders", description = "distinct orders" }
columns.items = { unit = "pieces", description = "pieces ordered" }
columns.revenue = { unit = "currency", description = "sum of price times quantity" }
--- */
SELECT
  country,
  customer_id,
  count(*) AS orders,
  sum(quantity) AS items,
  sum(net_amount) AS revenue
FROM silver.sales_lines
WHERE source = 'sales_events'
GROUP BY country, customer_id
