/* queries/fct_inventory.sql
---
question = "What was in stock of each product in each store at the end of each day?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
params.source = { type = "string", default = "", description = "only this source; empty is all" }
params.store = { type = "string", default = "", description = "only this store; empty is all" }
chart = { kind = "line", x = "event_date", y = "on_hand", series = "product_id" }
--- */
SELECT source, event_date, store_id, product_id, on_hand, on_order, is_out_of_stock
FROM gold.fct_inventory
WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
  AND ($source = '' OR source = $source)
  AND ($store = '' OR store_id = $store)
ORDER BY source, event_date NULLS FIRST, store_id, product_id
