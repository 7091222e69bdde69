/* models/gold/dim_customer_history.sql
---
description = "Customers as they were: a row for each stretch of time in which a customer's country stayed the same"
grain = ["source", "customer_id", "valid_from"]
kept = "scoped"
scope = ["source", "customer_id"]
checks = ["not_null(source)", "not_null(customer_id)", "unique(source, customer_id, valid_from)", "unique(source, customer_id, valid_to)"]
columns.source = { description = "the stream of sales whose ids these are" }
columns.customer_id = { description = "the customer" }
columns.country = { description = "country of the customer; null is a value" }
columns.valid_from = { description = "first instant of the stretch; null: the beginning of time" }
columns.valid_to = { description = "first instant after it; null: it lasts" }
--- */
WITH
  -- Of several orders at one instant only that with the greatest number counts.
  observed AS (
    SELECT customer_id, event_at, country
    FROM (
      SELECT
        customer_id, event_at, country,
        row_number() OVER (PARTITION BY customer_id, event_at ORDER BY event_id DESC) AS place
      FROM silver.sales_lines
      WHERE source = 'sales_events'
    )
    WHERE place = 1
  ),
  compared AS (
    SELECT
      customer_id, event_at, country,
      row_number() OVER (PARTITION BY customer_id ORDER BY event_at) AS nth,
      lag(country) OVER (PARTITION BY customer_id ORDER BY event_at) AS country_before
    FROM observed
  )
SELECT
  'sales_events' AS source,
  customer_id,
  country,
  CASE WHEN nth > 1 THEN event_at END AS valid_from,
  lead(event_at) OVER (PARTITION BY customer_id ORDER BY event_at) AS valid_to
FROM compared
WHERE nth = 1 OR (country IS DISTINCT FROM country_before)
