-- @id: r4_4sd
-- @title: Four deviations above the customer's own mean
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "{amount} is far above the mean of {payments_30d} payments"
-- @owner: data-science

SELECT tx_id, amount, count(*) OVER past AS payments_30d
FROM valued
WINDOW past AS (PARTITION BY customer_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '2591999 seconds' PRECEDING AND INTERVAL '1 second' PRECEDING)
QUALIFY payments_30d >= 5 AND amount > avg(amount) OVER past + 4.0 * stddev_samp(amount) OVER past
