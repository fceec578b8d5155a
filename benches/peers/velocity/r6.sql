-- @id: r6
-- @title: Four cards on one device within an hour
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: benches

SELECT tx_id
FROM payments
WINDOW w AS (PARTITION BY device_id ORDER BY ts RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)
QUALIFY count(DISTINCT card_id) OVER w >= 4
