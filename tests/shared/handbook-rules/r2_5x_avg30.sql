-- @id: r2_5x_avg30
-- @title: Five times the customer's own mean
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "{amount}, five times the mean of {payments_30d} payments"
-- @owner: data-science

SELECT tx_id, amount, count(*) OVER past AS payments_30d
FROM valued
WINDOW past AS (PARTITION BY customer_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '2591999 seconds' PRECEDING AND INTERVAL '1 second' PRECEDING)
QUALIFY payments_30d >= 5 AND amount > 5.0 * avg(amount) OVER past
