/* queries/dim_store.sql
---
question = "What are the stores, as they are now?"
params.source = { type = "string", default = "", description = "only this source; empty is all" }
chart = { kind = "bar", x = "location", y = "store_id" }
--- */
SELECT source, store_id, store_number, store_name, location, region, country, manager, valid_from
FROM gold.dim_store
WHERE $source = '' OR source = $source
ORDER BY source, store_id
