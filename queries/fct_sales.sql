/* queries/fct_sales.sql
---
question = "Which lines were sold and returned, with product, customer and store as they were at the time?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
params.source = { type = "string", default = "", description = "only this source; empty is all" }
params.top = { type = "int", default = "1000", description = "how many lines, the newest first" }
chart = { kind = "scatter", x = "event_at", y = "net_amount", series = "category" }
--- */
SELECT
  source,
  event_id,
  line_id,
  event_at,
  event_date,
  store_id,
  store_location,
  customer_id,
  customer_country,
  product_id,
  product_name,
  category,
  country,
  channel,
  kind,
  quantity,
  unit_price,
  net_amount,
  discount,
  cost,
  ship_cost
FROM gold.fct_sales
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
  AND ($source = '' OR source = $source)
ORDER BY event_at DESC, source, event_id, line_id
LIMIT $top
