-- @id: amount-outlier
-- @title: Online payment far above the card's own history
-- @status: live
-- @severity: medium
-- @score: 35
-- @action: challenge
-- @entity: card_id
-- @dedup: card_id 24h
-- @reason: "{amount}, where {payments_30d} payments in 30 days were {mean_30d} on average and {largest_30d} at most"
-- @owner: fraud-cards
-- @typology: amount-outlier
-- @tags: cards, profile
-- @false_positives: Rent deposits, holidays, furniture: any large purchase of someone who seldom makes one. Expect more of these than fraud.
-- @runbook: Confirm with the holder by app.

-- What is much depends on who pays, so a payment is measured by its own card's last 30 days and not by
-- one limit for all. The payment itself is left out: it would raise the mean it is compared with. The
-- largest payment is asked too, as a quiet month leaves a small mean and a small spread. All channels make
-- the history; only online payments alert, since a terminal asks for the PIN at such sums.
WITH measured AS (
    SELECT tx_id, event_time, card_id, merchant_id, amount, channel,
           count(*)                            OVER w AS payments_30d,
           avg(CAST(amount AS DOUBLE))         OVER w AS mean,
           stddev_samp(CAST(amount AS DOUBLE)) OVER w AS deviation,
           max(amount)                         OVER w AS largest_30d
    FROM payments
    WHERE approved
    WINDOW w AS (PARTITION BY card_id ORDER BY event_time
                 RANGE BETWEEN INTERVAL '30 days' PRECEDING AND INTERVAL '1 second' PRECEDING)
)
SELECT tx_id, event_time, card_id, merchant_id, amount, payments_30d, largest_30d,
       round(mean, 2) AS mean_30d
FROM measured
WHERE channel = 'ecom'
  AND payments_30d >= 5
  AND amount >= 1000
  AND amount >= 2 * largest_30d
  AND CAST(amount AS DOUBLE) >= 5 * mean
  AND CAST(amount AS DOUBLE) >= mean + 6 * deviation
