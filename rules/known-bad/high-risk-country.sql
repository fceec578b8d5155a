-- @id: high-risk-country
-- @title: Payment in a high-risk country
-- @status: live
-- @severity: high
-- @score: 50
-- @action: review
-- @entity: card_id
-- @dedup: card_id 6h
-- @reason: "{amount} in {country}, which is listed for {risk}"
-- @owner: financial-crime
-- @typology: high-risk-country
-- @tags: cards, list, sanctions
-- @false_positives: Aid workers, journalists, family visits.
-- @runbook: Sanctions: hand over to financial crime. Else call the holder.

-- Where the law asks for a closer look, no pattern is needed. The list starts with the countries for
-- which the Financial Action Task Force calls for action; your own policy may name more.
SELECT p.tx_id, p.event_time, p.card_id, p.merchant_id, p.amount, p.country, h.risk
FROM payments p
JOIN high_risk_countries h ON p.country = h.country
WHERE p.amount >= 50
