-- @id: ip-sharing
-- @title: One address pays with many cards from many devices
-- @status: live
-- @severity: medium
-- @score: 30
-- @action: challenge
-- @entity: ip
-- @dedup: ip 1h
-- @reason: "{cards_30m} cards on {devices_30m} devices from one address within 30 minutes, {declined_30m} payments declined"
-- @owner: fraud-cards
-- @typology: ip-sharing
-- @tags: cards, card-not-present, ring
-- @false_positives: Offices, campuses, trains, and carriers that put many customers behind one address. The declined payments are there to tell them apart.
-- @runbook: Look up who runs the address. A hosting provider: block it. A carrier: leave it.

-- Scripts that pretend to be many customers change the device they report, and leave by one address.
-- Crowds behind one address pay too, but few of them are declined.
SELECT tx_id, event_time, card_id, device_id, ip, amount,
       count(DISTINCT card_id)              OVER w AS cards_30m,
       count(DISTINCT device_id)            OVER w AS devices_30m,
       count(*) FILTER (WHERE NOT approved) OVER w AS declined_30m
FROM payments
WHERE ip IS NOT NULL
WINDOW w AS (PARTITION BY ip ORDER BY event_time
             RANGE BETWEEN INTERVAL '30 minutes' PRECEDING AND CURRENT ROW)
QUALIFY cards_30m >= 8 AND devices_30m >= 8 AND declined_30m >= 2
