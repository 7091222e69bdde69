/* queries/ec_country.sql
---
question = "What does the web shop sell to each country, and to how many customers, by the country on the order?"
chart = { kind = "bar", x = "country", y = "revenue" }
--- */
SELECT country, CAST(sum(revenue) AS DECIMAL(38, 2)) AS revenue, count(*) AS customers
FROM gold.ec_country_customer
GROUP BY country
ORDER BY revenue DESC, country
