/* models/gold/product.sql
---
description = "Sales by day and product"
grain = ["event_date", "product_id"]
kept = "scoped"
scope = "event_date"
--- */
SELECT event_date, product_id, count(*) AS n, sum(quantity) AS q, sum(revenue) AS rev
FROM silver.sales
GROUP BY event_date, product_id
