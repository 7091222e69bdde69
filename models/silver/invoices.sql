/* models/silver/invoices.sql
---
description = "One row an invoice message: an invoice is its number and its time, and its latest message wins"
grain = ["invoice_no", "invoiced_at"]
kept = "latest"
entity = ["invoice_no", "invoiced_at", "event_date"]
partition_by = ["event_date"]
checks = [
    "not_null(invoice_no)",
    "not_null(invoiced_at)",
    "not_null(country)",
    "not_null(total_cost)",
    "unique(event_date, invoice_no, invoiced_at)",
]
columns.invoice_no = { description = "number on the wire; the same number at another time is another invoice" }
columns.invoiced_at = { description = "when the invoice was made" }
columns.event_date = { description = "day of invoiced_at" }
columns.country = { description = "the customer's country" }
columns.is_order = { description = "whether it is an order" }
columns.is_return = { description = "whether it is a return" }
columns.lines = { unit = "lines", description = "items on the invoice" }
columns.total_items = { unit = "pieces", description = "sum of the quantities" }
columns.total_cost = { unit = "currency", description = "sum of price times quantity, negative for a return" }
--- */
SELECT
  invoice_no,
  invoiced_at,
  CAST(invoiced_at AS DATE) AS event_date,
  country,
  kind = 'ORDER' AS is_order,
  kind = 'RETURN' AS is_return,
  count(item) AS lines,
  coalesce(sum(CAST(item['quantity'] AS BIGINT)), 0) AS total_items,
  CASE WHEN kind = 'RETURN' THEN -1 ELSE 1 END
    * coalesce(sum(item['unit_price'] * CAST(item['quantity'] AS DECIMAL(10, 0))), 0) AS total_cost,
  _lineage
FROM (
  -- An invoice without items is an invoice of nothing, and counts.
  SELECT
    invoice_no, invoiced_at, country, kind, _lineage,
    unnest(CASE WHEN cardinality(items) = 0 THEN NULL ELSE items END) AS item
  FROM bronze.invoices
)
GROUP BY invoice_no, invoiced_at, country, kind, _lineage
