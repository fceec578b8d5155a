-- @id: r2
-- @title: More than 5000 spent with a card in an hour, and a large payment
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: benches

SELECT tx_id
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY ts RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)
QUALIFY sum(amount) OVER w > 5000 AND amount > 500
