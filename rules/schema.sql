-- The event contract: what each stream carries. Rules read these tables by name.
--
-- `event_time` is when it happened, in UTC; windows are ordered by it. `PRIMARY KEY` names the event:
-- a second event with the same key is a repeat, and reaches neither windows nor alerts.
-- A column without NOT NULL may be null or missing.

-- Card and account payments, one row for each authorisation, declined ones included.
CREATE TABLE payments (
    tx_id         VARCHAR        NOT NULL,
    event_time    TIMESTAMP      NOT NULL,
    card_id       VARCHAR        NOT NULL,  -- token of the card, never its number
    account_id    VARCHAR        NOT NULL,  -- account that the card draws on
    amount        DECIMAL(12, 2) NOT NULL,  -- in the booking currency, so that amounts compare and add up
    currency      VARCHAR        NOT NULL,  -- currency of the purchase, ISO 4217
    merchant_id   VARCHAR        NOT NULL,
    mcc           VARCHAR        NOT NULL,  -- merchant category code, four digits
    country       VARCHAR        NOT NULL,  -- country of the merchant, ISO 3166 alpha-2
    channel       VARCHAR        NOT NULL,  -- ecom, pos, moto or atm
    entry_mode    VARCHAR        NOT NULL,  -- chip, contactless, magstripe, wallet or keyed
    device_id     VARCHAR,                  -- customer's device; null where a terminal was used
    ip            VARCHAR,                  -- customer's address; null where a terminal was used
    lat           DOUBLE,                   -- where the terminal stands, degrees; null where none was used
    lon           DOUBLE,
    approved      BOOLEAN        NOT NULL,
    decline_code  VARCHAR,                  -- why it was declined; null where it was approved
    PRIMARY KEY (tx_id)
);

-- What happens to an account besides money.
CREATE TABLE account_events (
    event_id      VARCHAR        NOT NULL,
    event_time    TIMESTAMP      NOT NULL,
    account_id    VARCHAR        NOT NULL,
    kind          VARCHAR        NOT NULL,  -- login, login_failed, password_reset, payee_added, email_changed or device_added
    device_id     VARCHAR        NOT NULL,
    ip            VARCHAR        NOT NULL,
    country       VARCHAR        NOT NULL,  -- country of the address
    payee_id      VARCHAR,                  -- the payee of payee_added, else null
    PRIMARY KEY (event_id)
);

-- Money sent from an account to a payee.
CREATE TABLE transfers (
    transfer_id   VARCHAR        NOT NULL,
    event_time    TIMESTAMP      NOT NULL,
    account_id    VARCHAR        NOT NULL,
    payee_id      VARCHAR        NOT NULL,
    amount        DECIMAL(12, 2) NOT NULL,
    currency      VARCHAR        NOT NULL,
    channel       VARCHAR        NOT NULL,  -- web, app or branch
    device_id     VARCHAR,                  -- null where it was made in a branch
    ip            VARCHAR,
    payee_country VARCHAR        NOT NULL,
    PRIMARY KEY (transfer_id)
);
