CREATE TABLE payments (
    tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card_id VARCHAR NOT NULL, merchant_id VARCHAR NOT NULL,
    amount DECIMAL(12, 2) NOT NULL, currency VARCHAR, channel VARCHAR, approved BOOLEAN NOT NULL, ip VARCHAR,
    PRIMARY KEY (tx_id)
);
