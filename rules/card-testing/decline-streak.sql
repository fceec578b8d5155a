-- @id: decline-streak
-- @title: Approved after five declines in a row
-- @status: shadow
-- @severity: medium
-- @score: 25
-- @action: review
-- @entity: card_id
-- @dedup: card_id 1h
-- @reason: "approved after five declines in a row since {first_decline}"
-- @owner: fraud-cards
-- @typology: card-testing
-- @tags: cards, card-not-present
-- @false_positives: An account without funds until pay day, subscriptions that retry, a forgotten security code. Many: keep it in shadow until it is tuned.
-- @runbook: Compare the device and address of the declined payments with those of the approved one.

-- Expiry dates and security codes are guessed by trying. A streak is counted in payments and not in
-- minutes, because patient scripts spread their guesses over the day; one day is where it ends.
SELECT tx_id, event_time, card_id, merchant_id, amount,
       count(*)                         OVER last_five AS earlier,
       count(*) FILTER (WHERE approved) OVER last_five AS earlier_approved,
       min(event_time)                  OVER last_five AS first_decline
FROM payments
WHERE channel = 'ecom'
WINDOW last_five AS (PARTITION BY card_id ORDER BY event_time ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING)
QUALIFY approved AND earlier = 5 AND earlier_approved = 0
    AND first_decline > event_time - INTERVAL '24 hours'
