-- @id: merchant-ordered
-- @title: A merchant that sells much
-- @status: live
-- @severity: high
-- @score: 20
-- @reason: "{n} payments in 30 seconds"
-- @emit: in_order
-- @owner: faults
SELECT tx_id, merchant_id, count(*) OVER w AS n
FROM payments
WINDOW w AS (PARTITION BY merchant_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '30 seconds' PRECEDING AND CURRENT ROW)
QUALIFY n >= 28
