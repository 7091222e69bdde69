/* models/gold/dim_customer.sql
---
description = "Customers as they are now"
grain = ["source", "customer_id"]
kept = "view"
columns.source = { description = "the stream of sales whose ids these are" }
columns.customer_id = { description = "the customer, unique within its source" }
columns.country = { description = "country of the customer" }
columns.valid_from = { description = "since when it is so; null: always" }
--- */
SELECT source, customer_id, country, valid_from
FROM gold.dim_customer_history
WHERE valid_to IS NULL
