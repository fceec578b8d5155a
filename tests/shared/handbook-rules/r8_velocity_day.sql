-- @id: r8_velocity_day
-- @title: Nine payments of a customer in a day
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "{payments_1d} payments in a day"
-- @owner: data-science

SELECT tx_id, count(*) OVER day AS payments_1d
FROM valued
WINDOW day AS (PARTITION BY customer_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '86399 seconds' PRECEDING AND CURRENT ROW)
QUALIFY payments_1d >= 9
