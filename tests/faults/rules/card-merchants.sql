-- @id: card-merchants
-- @title: A card at many merchants
-- @status: live
-- @severity: high
-- @score: 35
-- @reason: "{merchants} merchants in 3 minutes"
-- @owner: faults
SELECT tx_id, card_id, count(DISTINCT merchant_id) OVER w AS merchants, count(*) OVER w AS n
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '3 minutes' PRECEDING AND CURRENT ROW)
QUALIFY merchants >= 12
