-- @id: card-count
-- @title: Many payments of a card
-- @status: live
-- @severity: high
-- @score: 30
-- @reason: "{n} payments in 10 minutes"
-- @owner: faults
SELECT tx_id, card_id, count(*) OVER w AS n
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY n >= 130
