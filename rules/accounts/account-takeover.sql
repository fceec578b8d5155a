-- @id: account-takeover
-- @title: Password reset, new payee, transfer
-- @status: live
-- @severity: critical
-- @score: 90
-- @action: block
-- @entity: account_id
-- @dedup: account_id 24h
-- @reason: "{amount} transferred after a password reset at {reset_at} and a new payee at {payee_at}"
-- @owner: fraud-accounts
-- @typology: account-takeover
-- @tags: accounts, sequence
-- @false_positives: A customer who comes back after a long time to pay a bill: forgotten password, new payee, transfer. Step-up on the transfer lets him through.
-- @runbook: Hold the transfer, end all sessions, call the customer on the number known before the reset.

-- Each step alone is everyday; within a day and in this order they are how an account is emptied.
-- Some reset before some new payee: that is the earliest reset before the latest payee.
SELECT event_id, event_time, account_id, kind, amount, payee_id, device_id, ip,
       min(event_time) FILTER (WHERE kind = 'password_reset') OVER w AS reset_at,
       max(event_time) FILTER (WHERE kind = 'payee_added')    OVER w AS payee_at
FROM account_activity
WINDOW w AS (PARTITION BY account_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '24 hours' PRECEDING AND CURRENT ROW)
QUALIFY kind = 'transfer' AND amount >= 200 AND reset_at < payee_at
