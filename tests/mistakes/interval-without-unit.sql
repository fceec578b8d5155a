-- @id: interval-without-unit
-- @title: A mistake
-- @status: live
-- @severity: low
-- @score: 10
-- @reason: "{n} payments"
-- @owner: fraud

SELECT card_id, count(*) OVER (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '10' PRECEDING AND CURRENT ROW) AS n FROM payments QUALIFY n > 5
