-- @id: card-sum
-- @title: Much money of a card
-- @status: live
-- @severity: high
-- @score: 40
-- @reason: "{total} in 5 minutes"
-- @owner: faults
SELECT tx_id, card_id, amount, sum(amount) OVER w AS total
FROM payments
WHERE amount > 20
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW)
QUALIFY total > 6500
