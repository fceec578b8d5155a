-- @id: r5
-- @title: A merchant with more than 50 payments in a minute, and a small one
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: benches

SELECT tx_id
FROM payments
WINDOW w AS (PARTITION BY merchant_id ORDER BY ts RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW)
QUALIFY count(*) OVER w > 50 AND amount < 5
