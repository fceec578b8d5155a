-- @id: card-burst
-- @title: A burst, told once
-- @status: live
-- @severity: high
-- @score: 50
-- @reason: "{n} payments in 1 minute"
-- @dedup: card_id 3m
-- @owner: faults
SELECT tx_id, card_id, count(*) OVER w AS n
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW)
QUALIFY n >= 18
