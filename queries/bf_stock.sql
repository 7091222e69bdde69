/* queries/bf_stock.sql
---
question = "What is the stock of each product in each store of the chain?"
params.store = { type = "string", default = "", description = "only this store; empty is all" }
params.product = { type = "string", default = "", description = "only this product; empty is all" }
chart = { kind = "bar", x = "product_id", y = "stock", series = "store_id" }
--- */
SELECT store_id, product_id, stock
FROM gold.bf_stock
WHERE ($store = '' OR store_id = $store) AND ($product = '' OR product_id = $product)
ORDER BY store_id, product_id
