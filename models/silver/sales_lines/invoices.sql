/* models/silver/sales_lines/invoices.sql
---
description = "Invoice lines of the international shop: an invoice is replaced as a whole by its latest message"
entity = ["source", "event_id", "event_date"]
--- */
SELECT
  'invoices' AS source,
  concat(invoice_no, '@', CAST(invoiced_at AS VARCHAR)) AS event_id,
  CAST(line_no AS VARCHAR) AS line_id,
  invoiced_at AS event_at,
  CAST(invoiced_at AS DATE) AS event_date,
  CAST(NULL AS TIMESTAMP) AS version_at,
  CAST(NULL AS VARCHAR) AS store_id,
  country,
  'online' AS channel,
  CAST(NULL AS VARCHAR) AS customer_id,
  item['sku'] AS product_id,
  item['title'] AS product_name,
  CAST(NULL AS VARCHAR) AS category,
  kind,
  CAST(coalesce(item['quantity'], 0) AS BIGINT) AS quantity,
  item['unit_price'] AS unit_price,
  CASE WHEN kind = 'RETURN' THEN -1 ELSE 1 END
    * coalesce(item['unit_price'], 0) * CAST(coalesce(item['quantity'], 0) AS DECIMAL(10, 0)) AS net_amount,
  CAST(NULL AS DECIMAL(19, 3)) AS discount,
  CAST(NULL AS DECIMAL(19, 3)) AS cost,
  CAST(NULL AS DECIMAL(19, 3)) AS ship_cost,
  _lineage
FROM (
  -- An invoice without items gives one line 0 of nothing: it must still replace the lines that it had before.
  SELECT
    invoice_no, invoiced_at, country, kind, _lineage,
    unnest(CASE WHEN cardinality(items) = 0 THEN NULL ELSE items END) AS item,
    unnest(CASE WHEN cardinality(items) = 0 THEN [0] ELSE generate_series(1, CAST(cardinality(items) AS BIGINT)) END) AS line_no
  FROM bronze.invoices
)
