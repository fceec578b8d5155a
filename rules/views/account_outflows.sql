-- Money leaving an account, by card or by transfer. Logins are left out: looking is not spending.
CREATE VIEW account_outflows AS
SELECT tx_id AS event_id, event_time, account_id, 'payment' AS kind, merchant_id AS counterparty, amount
FROM payments
WHERE approved
UNION ALL
SELECT transfer_id AS event_id, event_time, account_id, 'transfer' AS kind, payee_id AS counterparty, amount
FROM transfers
