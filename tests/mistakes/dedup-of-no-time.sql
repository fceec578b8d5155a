-- @id: dedup-of-no-time
-- @title: A mistake
-- @status: live
-- @severity: low
-- @score: 10
-- @reason: "{n} payments"
-- @owner: fraud
-- @dedup: card_id 0s

SELECT card_id, count(*) OVER w AS n FROM payments WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW) QUALIFY n > 5
