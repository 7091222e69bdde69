/* queries/kiosk_daily.sql
---
question = "What did the kiosk sell each day?"
chart = { kind = "bar", x = "event_date", y = "sales" }
params.article = { type = "string", default = "", description = "only this article; empty is all" }
--- */
SELECT event_date, sum(pieces) AS pieces, sum(sales) AS sales
FROM gold.kiosk_daily
WHERE $article = '' OR article = $article
GROUP BY event_date
ORDER BY event_date
