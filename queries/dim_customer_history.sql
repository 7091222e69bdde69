/* queries/dim_customer_history.sql
---
question = "Which country was each customer of, and when?"
params.source = { type = "string", default = "sales_events", description = "the source whose ids these are" }
params.customer = { type = "string", default = "", description = "only this customer; empty is all" }
chart = { kind = "bar", x = "country", y = "customer_id" }
--- */
SELECT customer_id, country, valid_from, valid_to
FROM gold.dim_customer_history
WHERE source = $source AND ($customer = '' OR customer_id = $customer)
ORDER BY customer_id, valid_from NULLS FIRST
