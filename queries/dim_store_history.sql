/* queries/dim_store_history.sql
---
question = "Where was each store, who ran it, and when?"
params.source = { type = "string", default = "", description = "only this source; empty is all" }
chart = { kind = "bar", x = "location", y = "store_id" }
--- */
SELECT source, store_id, store_number, store_name, location, region, country, manager, valid_from, valid_to
FROM gold.dim_store_history
WHERE $source = '' OR source = $source
ORDER BY source, store_id, valid_from NULLS FIRST
