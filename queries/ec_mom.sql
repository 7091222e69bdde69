/* queries/ec_mom.sql
---
question = "How does the web shop grow from month to month?"
chart = { kind = "line", x = "month", y = "growth_pct" }
--- */
WITH monthly AS (
  SELECT CAST(date_trunc('month', event_date) AS DATE) AS month, CAST(sum(revenue) AS DECIMAL(38, 2)) AS revenue
  FROM gold.ec_daily
  GROUP BY CAST(date_trunc('month', event_date) AS DATE)
)
SELECT
  this.month,
  this.revenue,
  ratio(100 * (this.revenue - before.revenue), before.revenue, 2) AS growth_pct
FROM monthly AS this
LEFT JOIN monthly AS before ON before.month = CAST(this.month - INTERVAL '1' MONTH AS DATE)
ORDER BY month
