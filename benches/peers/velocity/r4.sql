-- @id: r4
-- @title: Five times the average payment of the card in 24 hours
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: benches

SELECT tx_id
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY ts RANGE BETWEEN INTERVAL '24 hours' PRECEDING AND CURRENT ROW)
QUALIFY amount > 5 * avg(amount) OVER w AND count(*) OVER w >= 5
