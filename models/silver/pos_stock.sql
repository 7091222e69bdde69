/* models/silver/pos_stock.sql
---
description = "Opening stock of the shop's products"
grain = ["product_id"]
kept = "latest"
entity = ["product_id"]
checks = ["not_null(product_id)", "unique(product_id)"]
columns.product_id = { description = "the product, as the till names it" }
columns.stock_quantity = { unit = "pieces", description = "stock before the first sale" }
--- */
SELECT product AS product_id, stock_quantity, _lineage FROM bronze.pos_stock
