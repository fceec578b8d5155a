-- @id: card-ordered
-- @title: A burst in order, told once
-- @status: live
-- @severity: high
-- @score: 45
-- @reason: "{n} payments in 2 minutes"
-- @dedup: card_id 5m
-- @emit: in_order
-- @owner: faults
SELECT tx_id, card_id, count(*) OVER w AS n, sum(amount) OVER w AS total
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '2 minutes' PRECEDING AND CURRENT ROW)
QUALIFY n >= 32
