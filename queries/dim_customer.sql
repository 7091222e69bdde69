/* queries/dim_customer.sql
---
question = "Who are the customers, as they are now?"
params.source = { type = "string", default = "", description = "only this source; empty is all" }
chart = { kind = "bar", x = "country", y = "customer_id" }
--- */
SELECT source, customer_id, country, valid_from
FROM gold.dim_customer
WHERE $source = '' OR source = $source
ORDER BY source, customer_id
