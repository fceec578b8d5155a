-- @id: new-payee-round-amounts
-- @title: Round sums to a payee added today
-- @status: live
-- @severity: medium
-- @score: 40
-- @action: challenge
-- @entity: account_id
-- @dedup: account_id 24h
-- @reason: "{transfers_24h} transfers of together {sent_24h} to a payee added at {payee_at}, the last of {amount}"
-- @owner: fraud-accounts
-- @typology: new-payee-round-amounts
-- @tags: accounts, transfers, scam
-- @false_positives: Paying a builder in parts, helping a friend out, a new savings account elsewhere.
-- @runbook: Show the scam warning, wait an hour, ask what the money is for.

-- Victims of a scam pay of their own will and from their own device, so neither looks wrong. What is
-- left is a stranger as payee, and round sums, again and again, because somebody asks for more.
SELECT event_id, event_time, account_id, kind, payee_id, amount,
       count(*)        FILTER (WHERE kind = 'transfer')    OVER w AS transfers_24h,
       sum(amount)     FILTER (WHERE kind = 'transfer')    OVER w AS sent_24h,
       max(event_time) FILTER (WHERE kind = 'payee_added') OVER w AS payee_at
FROM account_activity
WHERE payee_id IS NOT NULL
WINDOW w AS (PARTITION BY account_id, payee_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '24 hours' PRECEDING AND CURRENT ROW)
QUALIFY kind = 'transfer' AND amount % 100 = 0
    AND payee_at IS NOT NULL AND transfers_24h >= 2 AND sent_24h >= 1000
