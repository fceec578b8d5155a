-- @id: blocked-device
-- @title: Payment from a blocked device
-- @status: live
-- @severity: critical
-- @score: 95
-- @action: block
-- @entity: device_id
-- @dedup: device_id 10m
-- @reason: "device {device_id} is on the list of blocked devices"
-- @owner: fraud-cards
-- @typology: blocked-device
-- @tags: cards, list
-- @false_positives: Second-hand telephones. The list has the date of each entry: let old ones expire.
-- @runbook: Add the cards to the case that the device was listed for.

-- What was learnt in one case must stop the next one at once, without waiting for a pattern.
SELECT tx_id, event_time, card_id, device_id, ip, amount
FROM payments
WHERE device_id IN (SELECT device_id FROM blocked_devices)
