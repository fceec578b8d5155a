-- Card payments of the comparison with other engines: what the six rules read of each row.
-- No PRIMARY KEY: the other engines don't look for repeats either.
--
-- @event_time: ts
CREATE TABLE payments (
    tx_id       BIGINT    NOT NULL,
    ts          TIMESTAMP NOT NULL,
    card_id     VARCHAR   NOT NULL,
    merchant_id VARCHAR   NOT NULL,
    amount      DOUBLE    NOT NULL,
    country     VARCHAR   NOT NULL,
    device_id   VARCHAR   NOT NULL
);
