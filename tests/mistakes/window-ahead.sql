-- @id: window-ahead
-- @title: A mistake
-- @status: live
-- @severity: low
-- @score: 10
-- @reason: "{n} payments"
-- @owner: fraud

SELECT card_id, count(*) OVER (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN CURRENT ROW AND INTERVAL '10 minutes' FOLLOWING) AS n FROM payments QUALIFY n > 5
