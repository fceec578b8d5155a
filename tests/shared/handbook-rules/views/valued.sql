-- Amounts as floats, as the oracle of these rules reads them, and labels as numbers.
CREATE VIEW valued AS
SELECT tx_id, event_time, customer_id, terminal_id, CAST(amount AS DOUBLE) AS amount,
       CAST(is_fraud AS INT) AS fraud
FROM transactions
