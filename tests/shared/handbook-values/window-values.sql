-- @id: window-values
-- @title: What the rules' windows hold at each transaction
-- @status: live
-- @severity: low
-- @score: 0
-- @reason: "windows of transaction {tx_id}"
-- @owner: data-science

-- `median` goes through DataFusion's accumulator, the slow path.
WITH valued AS (
    SELECT *, CAST(amount AS DOUBLE) AS value, CAST(is_fraud AS INT) AS fraud
    FROM transactions
)
SELECT tx_id,
       count(*)            OVER past AS n30,
       avg(value)          OVER past AS avg30,
       median(value)       OVER past AS med30,
       stddev_samp(value)  OVER past AS sd30,
       count(*)            OVER day  AS n1,
       count(*)            OVER known AS term_n7,
       coalesce(sum(fraud) OVER known, 0) AS term_f7
FROM valued
WINDOW past AS (PARTITION BY customer_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '2591999 seconds' PRECEDING AND INTERVAL '1 second' PRECEDING),
       day AS (PARTITION BY customer_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '86399 seconds' PRECEDING AND CURRENT ROW),
       known AS (PARTITION BY terminal_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1209599 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING)
