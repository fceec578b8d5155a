-- @id: r1
-- @title: More than five payments of a card in 10 minutes, and a large one
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: benches

SELECT tx_id
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY ts RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY count(*) OVER w > 5 AND amount > 250
