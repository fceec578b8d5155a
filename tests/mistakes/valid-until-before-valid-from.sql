-- @id: valid-until-before-valid-from
-- @title: A mistake
-- @status: live
-- @severity: low
-- @score: 10
-- @reason: "{n} payments"
-- @owner: fraud
-- @valid_from: 2026-12-01T00:00:00Z
-- @valid_until: 2026-11-01T00:00:00Z

SELECT card_id, count(*) OVER w AS n FROM payments WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW) QUALIFY n > 5
