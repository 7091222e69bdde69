/* models/gold/dim_store.sql
---
description = "Stores as they are now"
grain = ["source", "store_id"]
kept = "view"
columns.source = { description = "the stream of sales whose ids these are" }
columns.store_id = { description = "the store, unique within its source" }
columns.store_number = { description = "its number for people; null where the source has none" }
columns.store_name = { description = "its name; null where the source has none" }
columns.location = { description = "its city or place" }
columns.region = { description = "its region; null where the source has none" }
columns.country = { description = "its country; null where the source has none" }
columns.manager = { description = "who runs it; null where the source does not say" }
columns.valid_from = { description = "since when it is so; null: always" }
--- */
SELECT source, store_id, store_number, store_name, location, region, country, manager, valid_from
FROM gold.dim_store_history
WHERE valid_to IS NULL
