-- @id: dormant-account
-- @title: Dormant account sends money
-- @status: live
-- @severity: high
-- @score: 45
-- @action: challenge
-- @entity: account_id
-- @dedup: account_id 24h
-- @reason: "{amount} by {kind} after nothing since {previous_time}"
-- @owner: fraud-accounts
-- @typology: dormant-account
-- @tags: accounts, profile
-- @false_positives: Holiday accounts, savings that are used once a year, customers back from abroad.
-- @runbook: Call the customer before the money leaves. Check for a change of address or telephone in the weeks before.

-- Accounts that nobody watches are worth more to a thief: nobody misses the money for weeks. Sleep is
-- measured by money only, since a thief logs in first and would otherwise end it himself.
SELECT event_id, event_time, account_id, kind, counterparty, amount,
       lag(event_time) OVER w AS previous_time
FROM account_outflows
WINDOW w AS (PARTITION BY account_id ORDER BY event_time)
QUALIFY amount >= 200 AND previous_time < event_time - INTERVAL '90 days'
