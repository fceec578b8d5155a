-- @id: blocked-network
-- @title: Payment from a blocked network
-- @status: live
-- @severity: high
-- @score: 60
-- @action: challenge
-- @entity: ip
-- @dedup: ip 10m
-- @reason: "address {ip} is in a blocked network"
-- @owner: fraud-cards
-- @typology: blocked-network
-- @tags: cards, list
-- @false_positives: Private relays and company networks that leave through a rented machine.
-- @runbook: Step-up first. Block where the card is new to the customer's device as well.

-- Owners pay from homes and telephones. Networks of rented machines and open relays are where scripts
-- live. Replace these three, which are reserved for examples, by the networks that you see.
SELECT tx_id, event_time, card_id, device_id, ip, amount
FROM payments
WHERE ip_in_network(ip, '192.0.2.0/24')
   OR ip_in_network(ip, '198.51.100.0/24')
   OR ip_in_network(ip, '203.0.113.0/24')
