-- @id: card-testing
-- @title: Small online payments in a burst
-- @status: live
-- @severity: high
-- @score: 60
-- @action: block
-- @entity: card_id
-- @dedup: card_id 30m
-- @reason: "{payments_10m} online payments under 5.00 at {merchants} merchants within 10 minutes, {declined} declined"
-- @owner: fraud-cards
-- @typology: card-testing
-- @tags: cards, card-not-present, automated
-- @false_positives: Buyers of single songs, chapters or game items, who do so at one or two merchants; transport top-ups on a travel day.
-- @runbook: Block the card for online use and reissue it. Look for other cards from the same device.

-- Whoever buys stolen card numbers first finds out which still work, with sums that no owner notices
-- and at merchants that don't ask much. The number of merchants tells it from a fan of small purchases.
SELECT tx_id, event_time, card_id, merchant_id, amount,
       count(*)                                OVER w AS payments_10m,
       count(*) FILTER (WHERE NOT approved)    OVER w AS declined,
       count(DISTINCT merchant_id)             OVER w AS merchants
FROM payments
WHERE channel = 'ecom' AND amount < 5
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY payments_10m >= 8 AND merchants >= 4
