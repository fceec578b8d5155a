-- Logins, changes and transfers of an account as one sequence, for rules about the order of things.
CREATE VIEW account_activity AS
SELECT event_id, event_time, account_id, kind, device_id, ip, payee_id,
       CAST(NULL AS DECIMAL(12, 2)) AS amount
FROM account_events
UNION ALL
SELECT transfer_id AS event_id, event_time, account_id, 'transfer' AS kind, device_id, ip, payee_id,
       amount
FROM transfers
