-- @id: handbook-features
-- @title: The book's features of each transaction
-- @status: live
-- @severity: low
-- @score: 0
-- @reason: "features of transaction {tx_id}"
-- @owner: data-science
-- @tags: features

-- How much and how often the customer paid in 1, 7 and 30 days, this transaction included; how many
-- transactions and frauds the terminal had in as many days, one week ago: a fraud is known seven days later.
-- Times have whole seconds, so a frame that leaves its far end out is one second shorter.
WITH priced AS (
    SELECT *, CAST(amount * 100 AS BIGINT) AS cents, CAST(is_fraud AS INT) AS fraud
    FROM transactions
)
SELECT tx_id,
       CASE WHEN date_part('isodow', event_time) >= 6 THEN 1 ELSE 0 END AS is_weekend,
       CASE WHEN date_part('hour', event_time) <= 6 THEN 1 ELSE 0 END   AS is_night,
       count(*)                          OVER customer_1d     AS customer_count_1d,
       sum(cents)                        OVER customer_1d     AS customer_cents_1d,
       count(*)                          OVER customer_7d     AS customer_count_7d,
       sum(cents)                        OVER customer_7d     AS customer_cents_7d,
       count(*)                          OVER customer_30d    AS customer_count_30d,
       sum(cents)                        OVER customer_30d    AS customer_cents_30d,
       count(*)                          OVER terminal_1d     AS terminal_count_1d,
       coalesce(sum(fraud) OVER terminal_1d, 0)               AS terminal_frauds_1d,
       count(*)                          OVER terminal_7d     AS terminal_count_7d,
       coalesce(sum(fraud) OVER terminal_7d, 0)               AS terminal_frauds_7d,
       count(*)                          OVER terminal_30d    AS terminal_count_30d,
       coalesce(sum(fraud) OVER terminal_30d, 0)              AS terminal_frauds_30d
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
