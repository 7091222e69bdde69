/* queries/bf_store.sql
---
question = "What did each store of the chain sell?"
params.from = { type = "date", default = "", description = "first day; empty is the first there is" }
params.to = { type = "date", default = "", description = "last day; empty is the last there is" }
chart = { kind = "bar", x = "store_id", y = "revenue" }
--- */
SELECT
  sold.store_id,
  store.location,
  sold.sales,
  sold.units,
  sold.revenue
FROM (
  SELECT store_id, sum(sales) AS sales, sum(units) AS units, CAST(sum(revenue) AS DECIMAL(38, 2)) AS revenue
  FROM gold.bf_store_hour
  WHERE ($from IS NULL OR event_date >= $from) AND ($to IS NULL OR event_date <= $to)
  GROUP BY store_id
) AS sold
LEFT JOIN gold.dim_store AS store ON store.source = 'sales_transactions' AND store.store_id = sold.store_id
ORDER BY revenue DESC, store_id
