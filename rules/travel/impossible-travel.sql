-- @id: impossible-travel
-- @title: Card present in two places faster than an airliner
-- @status: live
-- @severity: critical
-- @score: 85
-- @action: block
-- @entity: card_id
-- @dedup: card_id 6h
-- @reason: "{km} km from {previous_country} to {country} within {minutes} min"
-- @owner: fraud-cards
-- @typology: impossible-travel
-- @tags: cards, card-present, counterfeit
-- @false_positives: Terminals registered at their company's head office, on ships and aircraft; two cards under one token. The holder's own next payment, after the copy's, alerts too.
-- @runbook: Block and reissue. Ask the holder where the card was last used, then look for the skimmed terminal among earlier payments.

-- A card can't be in two places. What is measured is the great circle between two terminals over the
-- time between two payments. Under 200 km a wrongly registered terminal is likelier than a copied card.
WITH steps AS (
    SELECT tx_id, event_time, card_id, merchant_id, amount, country, lat, lon,
           lag(country)    OVER w AS previous_country,
           lag(lat)        OVER w AS previous_lat,
           lag(lon)        OVER w AS previous_lon,
           lag(event_time) OVER w AS previous_time
    FROM payments
    WHERE channel IN ('pos', 'atm') AND lat IS NOT NULL AND lon IS NOT NULL
    WINDOW w AS (PARTITION BY card_id ORDER BY event_time)
),
legs AS (
    SELECT tx_id, event_time, card_id, merchant_id, amount, country, previous_country,
           distance_km(previous_lat, previous_lon, lat, lon)                     AS distance,
           date_part('epoch', event_time) - date_part('epoch', previous_time)    AS seconds
    FROM steps
    WHERE previous_time IS NOT NULL
)
SELECT tx_id, event_time, card_id, merchant_id, amount, country, previous_country,
       CAST(round(distance) AS BIGINT)     AS km,
       CAST(ceil(seconds / 60) AS BIGINT)  AS minutes
FROM legs
WHERE distance > 200 AND distance > 900 * seconds / 3600
