-- @id: credential-stuffing
-- @title: One address fails to log in to many accounts
-- @status: live
-- @severity: high
-- @score: 50
-- @action: block
-- @entity: ip
-- @dedup: ip 30m
-- @reason: "wrong passwords for {accounts_10m} accounts from one address within 10 minutes"
-- @owner: fraud-accounts
-- @typology: credential-stuffing
-- @tags: accounts, credentials, automated
-- @false_positives: An office or a carrier's shared address on the day after a forced password change.
-- @runbook: Block the address at the edge. Reset the password of every account that it did get into.

-- Passwords leaked elsewhere are tried here, one per account. No account fails twice, so counting by
-- account sees nothing: count accounts by address.
SELECT event_id, event_time, account_id, kind, device_id, ip, country,
       count(DISTINCT account_id) OVER w AS accounts_10m
FROM account_events
WHERE kind = 'login_failed'
WINDOW w AS (PARTITION BY ip ORDER BY event_time
             RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY accounts_10m >= 8
