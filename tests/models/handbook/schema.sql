-- Simulated card transactions with labels, as the files in ../shared/data hold them.
CREATE TABLE transactions (
    tx_id       BIGINT         NOT NULL,
    event_time  TIMESTAMP      NOT NULL,
    customer_id BIGINT         NOT NULL,
    terminal_id BIGINT         NOT NULL,
    amount      DECIMAL(12, 2) NOT NULL,
    is_fraud    BOOLEAN        NOT NULL,
    PRIMARY KEY (tx_id)
);
