-- @id: spend-velocity
-- @title: More than 3,000 spent with one card within an hour
-- @status: live
-- @severity: high
-- @score: 45
-- @action: challenge
-- @entity: card_id
-- @dedup: card_id 1h
-- @reason: "{spent_1h} in {payments_1h} approved payments within an hour"
-- @owner: fraud-cards
-- @typology: spend-velocity
-- @tags: cards, card-not-present
-- @false_positives: Moving house, weddings, furniture and electronics on one day; booking flights for a family.
-- @runbook: Confirm with the holder by app before the next payment over 500.

-- Stolen numbers are used up to the limit before they are reported. One large payment is no sign of
-- that, several in an hour are; declined ones don't count, as nothing was spent.
SELECT tx_id, event_time, card_id, merchant_id, amount,
       count(*)    OVER w AS payments_1h,
       sum(amount) OVER w AS spent_1h
FROM payments
WHERE approved
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)
QUALIFY payments_1h >= 3 AND spent_1h > 3000
