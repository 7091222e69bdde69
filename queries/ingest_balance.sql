/* queries/ingest_balance.sql
---
question = "Do the tables hold what the commits say that was delivered?"
params.stream = { type = "string", default = "", description = "only this stream; empty is all" }
chart = { kind = "bar", x = "stream", y = "delivered" }
--- */
SELECT
  stream,
  count(*) AS commits,
  sum(delivered) AS delivered,
  sum(mended) AS mended,
  sum(rows_stored) AS rows_stored,
  sum(rows_quarantined) AS rows_quarantined,
  sum(delivered) + sum(mended) - sum(rows_stored) - sum(rows_quarantined) AS missing
FROM quality.commits
WHERE $stream = '' OR stream = $stream
GROUP BY stream
ORDER BY stream
