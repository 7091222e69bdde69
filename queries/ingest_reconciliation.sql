/* queries/ingest_reconciliation.sql
---
question = "Was all that each input delivered stored or set aside?"
params.stream = { type = "string", default = "", description = "only this stream; empty is all" }
chart = { kind = "bar", x = "input", y = "delivered", series = "stream" }
--- */
SELECT
  stream,
  input,
  count(*) AS commits,
  sum(delivered) AS delivered,
  sum(stored) AS stored,
  sum(quarantined) AS quarantined,
  sum(skipped) AS skipped,
  sum(mended) AS mended,
  sum(delivered) - sum(stored) - sum(quarantined) AS missing
FROM quality.reconciliation
WHERE $stream = '' OR stream = $stream
GROUP BY stream, input
ORDER BY stream, input
