-- @id: r9_repeat_odd
-- @title: A second odd amount within two weeks
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "{odd_14d} odd amounts before"
-- @owner: data-science

SELECT tx_id, sum(odd) OVER fortnight AS odd_14d
FROM odd_amounts
WINDOW fortnight AS (PARTITION BY customer_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1209599 seconds' PRECEDING AND INTERVAL '1 second' PRECEDING)
QUALIFY odd = 1 AND odd_14d >= 1
