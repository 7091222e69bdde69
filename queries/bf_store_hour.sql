/* queries/bf_store_hour.sql
---
question = "What did each store of the chain sell in each hour?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
params.store = { type = "string", default = "", description = "only this store; empty is all" }
chart = { kind = "line", x = "hour", y = "revenue", series = "store_id" }
--- */
SELECT store_id, hour, units, CAST(revenue AS DECIMAL(38, 2)) AS revenue
FROM gold.bf_store_hour
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
  AND ($store = '' OR store_id = $store)
ORDER BY store_id, hour
