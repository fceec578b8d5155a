-- @id: card-velocity
-- @title: Ten payments with one card within ten minutes
-- @status: live
-- @severity: medium
-- @score: 40
-- @action: challenge
-- @entity: card_id
-- @dedup: card_id 30m
-- @reason: "{payments_10m} payments of together {spent_10m} within 10 minutes"
-- @owner: fraud-cards
-- @typology: card-velocity
-- @tags: cards, lost-and-stolen
-- @false_positives: Company cards with several holders, vending machines, fairs and amusement parks.
-- @runbook: Ask the holder for a PIN on the next payment; call where the card is a company's.

-- A thief with a contactless card has until it is reported, and a limit per payment: so there are many
-- payments, close together. Sums under 5.00 are left to the rule on card testing.
SELECT tx_id, event_time, card_id, merchant_id, amount,
       count(*)    OVER w AS payments_10m,
       sum(amount) OVER w AS spent_10m
FROM payments
WHERE amount >= 5
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY payments_10m >= 10
