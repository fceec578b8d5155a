-- @id: new-country
-- @title: Card present in a country where it never was
-- @status: live
-- @severity: low
-- @score: 20
-- @action: review
-- @entity: card_id
-- @dedup: card_id 24h
-- @reason: "first payment in {country} in 90 days, {amount}, after {payments_90d} payments elsewhere"
-- @owner: fraud-cards
-- @typology: new-country
-- @tags: cards, card-present
-- @false_positives: Every first day of a holiday. It is a weak sign, meant to add to others.
-- @runbook: No action on its own. With another alert on the card, call the holder.

-- Copied cards are used where the copier is, and most holders seldom cross a border. Small sums are
-- left out: travellers start with a coffee, copiers with what the card will bear.
SELECT tx_id, event_time, card_id, merchant_id, amount, country, entry_mode,
       count(*) OVER anywhere AS payments_90d,
       count(*) OVER here     AS payments_here_90d
FROM payments
WHERE channel IN ('pos', 'atm') AND approved
WINDOW anywhere AS (PARTITION BY card_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '90 days' PRECEDING AND INTERVAL '1 second' PRECEDING),
       here AS (PARTITION BY card_id, country ORDER BY event_time
                RANGE BETWEEN INTERVAL '90 days' PRECEDING AND INTERVAL '1 second' PRECEDING)
QUALIFY payments_90d >= 3 AND payments_here_90d = 0 AND amount >= 150
