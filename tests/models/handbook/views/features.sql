-- The book's features of each transaction: how much and how often the customer paid in 1, 7 and 30 days, this
-- transaction included, and how many transactions of the terminal were frauds in as many days, one week ago, since a
-- fraud is known seven days later. Training and the stream both read this view.
CREATE VIEW features AS
WITH priced AS (
    SELECT *, CAST(amount * 100 AS BIGINT) AS cents, CAST(is_fraud AS INT) AS fraud FROM transactions
), counted AS (
    SELECT tx_id, event_time, customer_id, amount, is_fraud,
           count(*) OVER customer_1d AS n_1d, sum(cents) OVER customer_1d AS cents_1d,
           count(*) OVER customer_7d AS n_7d, sum(cents) OVER customer_7d AS cents_7d,
           count(*) OVER customer_30d AS n_30d, sum(cents) OVER customer_30d AS cents_30d,
           count(*) OVER terminal_1d AS terminal_n_1d, sum(fraud) OVER terminal_1d AS frauds_1d,
           count(*) OVER terminal_7d AS terminal_n_7d, sum(fraud) OVER terminal_7d AS frauds_7d,
           count(*) OVER terminal_30d AS terminal_n_30d, sum(fraud) OVER terminal_30d AS frauds_30d
    FROM priced
    WINDOW customer_1d  AS (PARTITION BY customer_id ORDER BY event_time
                            RANGE BETWEEN INTERVAL '86399 seconds' PRECEDING AND CURRENT ROW),
           customer_7d  AS (PARTITION BY customer_id ORDER BY event_time
                            RANGE BETWEEN INTERVAL '604799 seconds' PRECEDING AND CURRENT ROW),
           customer_30d AS (PARTITION BY customer_id ORDER BY event_time
                            RANGE BETWEEN INTERVAL '2591999 seconds' PRECEDING AND CURRENT ROW),
           terminal_1d  AS (PARTITION BY terminal_id ORDER BY event_time
                            RANGE BETWEEN INTERVAL '691199 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING),
           terminal_7d  AS (PARTITION BY terminal_id ORDER BY event_time
                            RANGE BETWEEN INTERVAL '1209599 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING),
           terminal_30d AS (PARTITION BY terminal_id ORDER BY event_time
                            RANGE BETWEEN INTERVAL '3196799 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING)
)
SELECT tx_id, event_time, customer_id, is_fraud,
       CAST(amount AS DOUBLE) AS tx_amount,
       date_part('isodow', event_time) >= 6 AS during_weekend,
       date_part('hour', event_time) <= 6 AS during_night,
       n_1d AS customer_count_1d, CAST(cents_1d AS DOUBLE) / 100 / n_1d AS customer_average_1d,
       n_7d AS customer_count_7d, CAST(cents_7d AS DOUBLE) / 100 / n_7d AS customer_average_7d,
       n_30d AS customer_count_30d, CAST(cents_30d AS DOUBLE) / 100 / n_30d AS customer_average_30d,
       terminal_n_1d AS terminal_count_1d, coalesce(CAST(frauds_1d AS DOUBLE) / nullif(terminal_n_1d, 0), 0.0) AS terminal_risk_1d,
       terminal_n_7d AS terminal_count_7d, coalesce(CAST(frauds_7d AS DOUBLE) / nullif(terminal_n_7d, 0), 0.0) AS terminal_risk_7d,
       terminal_n_30d AS terminal_count_30d, coalesce(CAST(frauds_30d AS DOUBLE) / nullif(terminal_n_30d, 0), 0.0) AS terminal_risk_30d
FROM counted
