-- @id: merchant-burst
-- @title: Most of a merchant's online payments are suddenly declined
-- @status: live
-- @severity: high
-- @score: 50
-- @action: review
-- @entity: merchant_id
-- @dedup: merchant_id 30m
-- @reason: "{declined_5m} of {payments_5m} online payments declined within 5 minutes, {cards_5m} cards"
-- @owner: fraud-merchants
-- @typology: merchant-burst
-- @tags: merchants, card-not-present, enumeration
-- @false_positives: A merchant's broken checkout, an issuer's outage, the sale of tickets to a concert.
-- @runbook: Ask the acquirer to switch on step-up for the merchant. Check whether one issuer's cards stand out.

-- Card numbers are also found by guessing, and guessing needs a merchant that lets it happen. No card
-- is tried twice, so rules by card see nothing; the merchant's share of declines shows it at once.
SELECT tx_id, event_time, card_id, merchant_id, amount,
       count(*)                             OVER w AS payments_5m,
       count(*) FILTER (WHERE NOT approved) OVER w AS declined_5m,
       count(DISTINCT card_id)              OVER w AS cards_5m
FROM payments
WHERE channel = 'ecom'
WINDOW w AS (PARTITION BY merchant_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW)
QUALIFY declined_5m >= 15 AND declined_5m * 2 >= payments_5m AND cards_5m >= 15
