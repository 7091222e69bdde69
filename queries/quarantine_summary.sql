/* queries/quarantine_summary.sql
---
question = "Which records are in quarantine, and why?"
params.stream = { type = "string", default = "", description = "only this stream; empty is all" }
chart = { kind = "bar", x = "reason", y = "records", series = "stream" }
--- */
SELECT
  stream,
  _source AS source,
  _error AS reason,
  count(*) AS records,
  count(*) FILTER (WHERE NOT _mended) AS open,
  min(_arrived_at) AS first_arrived,
  max(_arrived_at) AS last_arrived
FROM quality.quarantine
WHERE $stream = '' OR stream = $stream
GROUP BY stream, _source, _error
ORDER BY records DESC, stream, source, reason
