-- @id: card-rare
-- @title: Four payments of a card that pays rarely
-- @status: live
-- @severity: high
-- @score: 25
-- @reason: "{total} in {n} payments"
-- @owner: faults
SELECT tx_id, card_id, count(*) OVER w AS n, sum(amount) OVER w AS total
FROM payments
WHERE card_id LIKE 'rare-%'
WINDOW w AS (PARTITION BY card_id ORDER BY event_time ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
QUALIFY n = 4 AND total > 500
