-- @id: device-sharing
-- @title: One device pays with five cards within an hour
-- @status: live
-- @severity: high
-- @score: 55
-- @action: block
-- @entity: device_id
-- @dedup: device_id 1h
-- @reason: "{cards_1h} cards from one device within an hour, {payments_1h} payments"
-- @owner: fraud-cards
-- @typology: device-sharing
-- @tags: cards, card-not-present, ring
-- @false_positives: Travel agents and secretaries who pay with their clients' cards; shared tablets in shops; fingerprints that collide on one model of telephone.
-- @runbook: Put the device on the list of blocked devices; block the cards that share nothing else.

-- A household pays with two or three cards on one device. Someone with a list of card numbers goes
-- through it on the device at hand, and changes the address more easily than the device.
SELECT tx_id, event_time, card_id, device_id, ip, amount,
       count(DISTINCT card_id) OVER w AS cards_1h,
       count(*)                OVER w AS payments_1h
FROM payments
WHERE device_id IS NOT NULL
WINDOW w AS (PARTITION BY device_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)
QUALIFY cards_1h >= 5
