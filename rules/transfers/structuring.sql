-- @id: structuring
-- @title: Transfers just below the reporting threshold
-- @status: live
-- @severity: high
-- @score: 50
-- @action: review
-- @entity: account_id
-- @dedup: account_id 24h
-- @reason: "{transfers_24h} transfers of 9,000 to 9,999.99 within 24 hours, together {sent_24h}, to {payees_24h} payees"
-- @owner: financial-crime
-- @typology: structuring
-- @tags: accounts, transfers, money-laundering
-- @false_positives: Businesses that pay suppliers or wages of that size. Leave their accounts out by a list.
-- @runbook: Don't contact the customer (tipping off). Hand over to financial crime with a year of statements.

-- Sums from 10,000 on are reported, so whoever wants to avoid the report sends several below. One is
-- chance; three on a day are a habit. Set the amounts to the threshold of your own country.
SELECT transfer_id, event_time, account_id, payee_id, amount,
       count(*)                 OVER w AS transfers_24h,
       sum(amount)              OVER w AS sent_24h,
       count(DISTINCT payee_id) OVER w AS payees_24h
FROM transfers
WHERE amount >= 9000 AND amount < 10000
WINDOW w AS (PARTITION BY account_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '24 hours' PRECEDING AND CURRENT ROW)
QUALIFY transfers_24h >= 3
