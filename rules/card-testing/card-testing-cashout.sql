-- @id: card-testing-cashout
-- @title: A large online payment right after small ones were declined
-- @status: live
-- @severity: critical
-- @score: 90
-- @action: block
-- @entity: card_id
-- @dedup: card_id 1h
-- @reason: "{amount} approved after {small_declines} declined payments under 5.00 within an hour"
-- @owner: fraud-cards
-- @typology: card-testing
-- @tags: cards, card-not-present, automated
-- @false_positives: A customer who mistypes the security code on a small purchase again and again, then buys something else. Rare at five times.
-- @runbook: Stop the payment before it is shipped, then block and reissue the card.

-- Testing is only worth something if a purchase follows. This is the moment at which money is lost,
-- so it stands apart from the rule on testing itself and blocks on its own.
SELECT tx_id, event_time, card_id, merchant_id, amount,
       count(*) FILTER (WHERE NOT approved AND amount < 5) OVER w AS small_declines
FROM payments
WHERE channel = 'ecom'
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)
QUALIFY approved AND amount >= 100 AND small_declines >= 5
