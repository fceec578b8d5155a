-- @id: r3
-- @title: A card in three countries within 24 hours
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: benches

SELECT tx_id
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY ts RANGE BETWEEN INTERVAL '24 hours' PRECEDING AND CURRENT ROW)
QUALIFY count(DISTINCT country) OVER w >= 3
