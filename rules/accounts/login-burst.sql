-- @id: login-burst
-- @title: Login after many wrong passwords
-- @status: live
-- @severity: high
-- @score: 45
-- @action: challenge
-- @entity: account_id
-- @dedup: account_id 1h
-- @reason: "login after {failed_10m} wrong passwords within 10 minutes"
-- @owner: fraud-accounts
-- @typology: login-burst
-- @tags: accounts, credentials
-- @false_positives: A forgotten password, a telephone that keeps sending the old one after a change.
-- @runbook: Ask for the second factor again. If the device is new, reset the password.

-- Guessing shows as failures; only the success after them matters, so that is what alerts.
SELECT event_id, event_time, account_id, kind, device_id, ip, country,
       count(*) FILTER (WHERE kind = 'login_failed') OVER w AS failed_10m
FROM account_events
WINDOW w AS (PARTITION BY account_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY kind = 'login' AND failed_10m >= 5
