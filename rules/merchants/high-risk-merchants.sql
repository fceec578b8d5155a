-- @id: high-risk-merchants
-- @title: Much money to betting, vouchers or money transfer within an hour
-- @status: live
-- @severity: medium
-- @score: 40
-- @action: challenge
-- @entity: card_id
-- @dedup: card_id 6h
-- @reason: "{spent_1h} in {payments_1h} payments to high-risk merchants within an hour, the last for {category}"
-- @owner: fraud-cards
-- @typology: high-risk-merchants
-- @tags: cards, card-not-present, cash-out
-- @false_positives: People who bet. They do it often, so their history tells them apart.
-- @runbook: Confirm with the holder; check for a customer at risk of harm by gambling before blocking.

-- Stolen money must leave the card in a form that can be moved on: vouchers, balance, quasi-cash. The
-- list names the merchant categories where that is easy.
SELECT p.tx_id, p.event_time, p.card_id, p.merchant_id, p.amount, r.category,
       count(*)      OVER w AS payments_1h,
       sum(p.amount) OVER w AS spent_1h
FROM payments p
JOIN high_risk_mcc r ON p.mcc = r.mcc
WHERE p.approved
WINDOW w AS (PARTITION BY p.card_id ORDER BY p.event_time
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)
QUALIFY payments_1h >= 3 AND spent_1h >= 1000
