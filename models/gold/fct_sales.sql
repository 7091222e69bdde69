/* models/gold/fct_sales.sql
---
description = "Every line of every sale and return with natural keys, and with its product, customer and store as they were at the time"
grain = ["source", "event_id", "line_id"]
kept = "view"
columns.source = { description = "the stream that the line came from, which also names the system of its ids" }
columns.event_id = { description = "the sale, order or invoice, unique within its source" }
columns.line_id = { description = "the line within its event" }
columns.event_at = { description = "when it was sold or returned" }
columns.event_date = { description = "day of event_at; key of gold.dim_date" }
columns.store_id = { description = "the store; with source key of gold.dim_store; null where the source is one shop" }
columns.customer_id = { description = "the customer; with source key of gold.dim_customer; null where the source does not say" }
columns.product_id = { description = "the product; with source key of gold.dim_product" }
columns.country = { description = "the country of the sale; null where the source does not say" }
columns.channel = { description = "store or online" }
columns.kind = { description = "ORDER or RETURN" }
columns.quantity = { unit = "pieces", description = "pieces sold or returned, not negative for a return" }
columns.unit_price = { unit = "currency", description = "price of one piece" }
columns.net_amount = { unit = "currency", description = "amount of the line, negative for a return" }
columns.discount = { unit = "currency", description = "discount of the line; null where the source does not say" }
columns.cost = { unit = "currency", description = "cost of the goods; null where the source does not say" }
columns.ship_cost = { unit = "currency", description = "cost of shipping; null where the source does not say" }
columns.product_name = { description = "name of the product at event_at; null for a product that no dimension names" }
columns.category = { description = "category of the product at event_at; null for a product that no dimension names" }
columns.customer_country = { description = "country of the customer at event_at; null for a customer that no dimension names" }
columns.store_location = { description = "place of the store at event_at; null for a store that no dimension names" }
--- */
SELECT
  line.source,
  line.event_id,
  line.line_id,
  line.event_at,
  line.event_date,
  line.store_id,
  line.customer_id,
  line.product_id,
  line.country,
  line.channel,
  line.kind,
  line.quantity,
  line.unit_price,
  line.net_amount,
  line.discount,
  line.cost,
  line.ship_cost,
  product.product_name,
  product.category,
  customer.country AS customer_country,
  store.location AS store_location
FROM silver.sales_lines AS line
LEFT JOIN gold.dim_product_history AS product
  ON product.source = line.source
  AND product.product_id = line.product_id
  AND (product.valid_from IS NULL OR product.valid_from <= line.event_at)
  AND (product.valid_to IS NULL OR line.event_at < product.valid_to)
LEFT JOIN gold.dim_customer_history AS customer
  ON customer.source = line.source
  AND customer.customer_id = line.customer_id
  AND (customer.valid_from IS NULL OR customer.valid_from <= line.event_at)
  AND (customer.valid_to IS NULL OR line.event_at < customer.valid_to)
LEFT JOIN gold.dim_store_history AS store
  ON store.source = line.source
  AND store.store_id = line.store_id
  AND (store.valid_from IS NULL OR store.valid_from <= line.event_at)
  AND (store.valid_to IS NULL OR line.event_at < store.valid_to)
