/* models/gold/pos_refill.sql
---
description = "What the shop is expected to need of each product in each of the next twelve months, and what it has to refill"
grain = ["month", "product_id"]
kept = "full"
checks = [
    "not_null(month)",
    "not_null(product_id)",
    "unique(month, product_id)",
    "range(months_ahead, 1, 12)",
    "range(refill, 0, )",
]
columns.month = { description = "first day of a month that is not over, from the first one on" }
columns.months_ahead = { unit = "months", description = "1: the first month that is not over" }
columns.product_id = { description = "the product, as the till names it" }
columns.same_month_units = { unit = "pieces", description = "units sold in the same month of earlier years, all together" }
columns.same_months = { unit = "months", description = "how many of those months there are" }
columns.recent_units = { unit = "pieces", description = "units sold in the last three full months, all together" }
columns.recent_months = { unit = "months", description = "how many of those months there are" }
columns.need = { unit = "pieces", description = "mean of the two monthly means, or the one that exists" }
columns.stock_left = { unit = "pieces", description = "what is left when the month begins; null without a stock row" }
columns.refill = { unit = "pieces", description = "what the month needs beyond what is left; null without a stock row" }
--- */
WITH
  span AS (
    SELECT min(event_date) AS first, max(event_date) AS last FROM gold.pos_daily
  ),
  -- A month is full when sales began on or before its first day, and go on to its last one. One without any is unknown.
  full_months AS (
    SELECT sold.month
    FROM gold.pos_monthly AS sold
    CROSS JOIN span
    WHERE sold.month >= date_trunc('month', span.first + INTERVAL '1' MONTH - INTERVAL '1' DAY)
      AND sold.month < date_trunc('month', span.last + INTERVAL '1' DAY)
  ),
  coming AS (
    SELECT month, row_number() OVER (ORDER BY month) AS months_ahead
    FROM (
      SELECT CAST(unnest(generate_series(
        date_trunc('month', last + INTERVAL '1' DAY),
        date_trunc('month', last + INTERVAL '1' DAY) + INTERVAL '11' MONTH,
        INTERVAL '1' MONTH
      )) AS DATE) AS month
      FROM span
      WHERE last IS NOT NULL
    )
  ),
  recent AS (SELECT month FROM full_months ORDER BY month DESC LIMIT 3),
  recent_sold AS (
    SELECT product_id, sum(units) AS units
    FROM gold.pos_monthly_product
    WHERE month IN (SELECT month FROM recent)
    GROUP BY product_id
  ),
  same_months AS (
    SELECT coming.month, full_months.month AS earlier
    FROM coming
    JOIN full_months ON extract(MONTH FROM full_months.month) = extract(MONTH FROM coming.month)
      AND full_months.month < coming.month
  ),
  same_counts AS (SELECT month, count(*) AS months FROM same_months GROUP BY month),
  same_sold AS (
    SELECT same_months.month, sold.product_id, sum(sold.units) AS units
    FROM same_months
    JOIN gold.pos_monthly_product AS sold ON sold.month = same_months.earlier
    GROUP BY same_months.month, sold.product_id
  ),
  -- A product that was not sold in a month of sales needed none in it.
  terms AS (
    SELECT
      coming.months_ahead,
      coming.month,
      product.product_id,
      product.opening - product.units AS stock_left,
      coalesce(same_sold.units, 0) AS same_month_units,
      coalesce(same_counts.months, 0) AS same_months,
      coalesce(recent_sold.units, 0) AS recent_units,
      (SELECT count(*) FROM recent) AS recent_months
    FROM coming
    CROSS JOIN gold.pos_product AS product
    LEFT JOIN same_counts ON same_counts.month = coming.month
    LEFT JOIN same_sold ON same_sold.month = coming.month AND same_sold.product_id = product.product_id
    LEFT JOIN recent_sold ON recent_sold.product_id = product.product_id
  ),
  needs AS (
    SELECT
      *,
      CASE
        WHEN same_months = 0 THEN ratio(recent_units, recent_months)
        WHEN recent_months = 0 THEN ratio(same_month_units, same_months)
        ELSE ratio(same_month_units * recent_months + recent_units * same_months, 2 * same_months * recent_months)
      END AS need
    FROM terms
  ),
  -- A month begins with what the months before it leave over; what they lacked was refilled.
  left_over AS (
    SELECT
      month,
      months_ahead,
      product_id,
      same_month_units,
      same_months,
      recent_units,
      recent_months,
      need,
      CASE
        WHEN months_ahead = 1 THEN CAST(stock_left AS DOUBLE)
        WHEN stock_left + need > needed THEN stock_left + need - needed
        WHEN stock_left + need <= needed THEN 0
      END AS stock_left
    FROM (SELECT *, sum(need) OVER (PARTITION BY product_id ORDER BY month) AS needed FROM needs)
  )
SELECT
  *,
  CASE WHEN stock_left < need THEN need - stock_left WHEN stock_left >= need THEN 0 END AS refill
FROM left_over
