-- What a transaction is beside the habits of its customer and what is known of its terminal, for the model `habits`.
-- Frauds are known seven days later, so what looks at them ends seven days ago; nothing here sees a label before.
CREATE VIEW habits AS
WITH priced AS (
    SELECT *, CAST(amount AS DOUBLE) AS paid, CAST(is_fraud AS INT) AS fraud FROM transactions
), usual AS (
    SELECT *, avg(paid) OVER past_90 AS mean_90, stddev_samp(paid) OVER past_90 AS spread_90, max(paid) OVER past_90 AS most_90,
           count(*) OVER past_90 AS count_90, median(paid) OVER past_30 AS median_30
    FROM priced
    WINDOW past_90 AS (PARTITION BY customer_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL '90 days' PRECEDING AND INTERVAL '1 second' PRECEDING),
           past_30 AS (PARTITION BY customer_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL '30 days' PRECEDING AND INTERVAL '1 second' PRECEDING)
), odd AS (
    SELECT *, paid / mean_90 AS ratio, (paid - mean_90) / spread_90 AS score_90 FROM usual
), counted AS (
    SELECT *,
           max(ratio) OVER past_14 AS ratio_14, count(*) FILTER (WHERE ratio > 2.5) OVER past_14 AS odd_14,
           count(*) OVER past_14 AS count_14,
           max(ratio) OVER past_7 AS ratio_7, count(*) FILTER (WHERE ratio > 2.5) OVER past_7 AS odd_7, count(*) OVER past_7 AS count_7,
           count(*) OVER past_1 AS count_1, sum(paid) OVER past_1 AS spent_1,
           sum(fraud) OVER own_known AS own_frauds,
           sum(fraud) OVER known_1 AS frauds_1, count(*) OVER known_1 AS seen_1,
           sum(fraud) OVER known_3 AS frauds_3, count(*) OVER known_3 AS seen_3,
           sum(fraud) OVER known_7 AS frauds_7, count(*) OVER known_7 AS seen_7,
           sum(fraud) OVER known_21 AS frauds_21, count(*) OVER known_21 AS seen_21,
           sum(CASE WHEN is_fraud AND paid <= 220 AND ratio < 3 THEN 1 ELSE 0 END) OVER known_21 AS plain_frauds_21,
           max(CASE WHEN is_fraud THEN event_time END) OVER known_21 AS last_fraud,
           min(CASE WHEN is_fraud THEN event_time END) OVER known_21 AS first_fraud
    FROM odd
    WINDOW past_1 AS (PARTITION BY customer_id ORDER BY event_time
                      RANGE BETWEEN INTERVAL '1 day' PRECEDING AND INTERVAL '1 second' PRECEDING),
           past_7 AS (PARTITION BY customer_id ORDER BY event_time
                      RANGE BETWEEN INTERVAL '7 days' PRECEDING AND INTERVAL '1 second' PRECEDING),
           past_14 AS (PARTITION BY customer_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL '14 days' PRECEDING AND INTERVAL '1 second' PRECEDING),
           own_known AS (PARTITION BY customer_id ORDER BY event_time
                         RANGE BETWEEN INTERVAL '21 days' PRECEDING AND INTERVAL '7 days' PRECEDING),
           known_1 AS (PARTITION BY terminal_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL '8 days' PRECEDING AND INTERVAL '7 days' PRECEDING),
           known_3 AS (PARTITION BY terminal_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL '10 days' PRECEDING AND INTERVAL '7 days' PRECEDING),
           known_7 AS (PARTITION BY terminal_id ORDER BY event_time
                       RANGE BETWEEN INTERVAL '14 days' PRECEDING AND INTERVAL '7 days' PRECEDING),
           known_21 AS (PARTITION BY terminal_id ORDER BY event_time
                        RANGE BETWEEN INTERVAL '28 days' PRECEDING AND INTERVAL '7 days' PRECEDING)
)
SELECT tx_id, event_time, customer_id, is_fraud,
       paid, mean_90, spread_90, most_90, count_90, median_30, ratio, score_90, paid / most_90 AS to_most, paid / median_30 AS to_median,
       ratio_14, odd_14, count_14, ratio_7, odd_7, count_1, spent_1, count_7, own_frauds,
       frauds_1, seen_1, frauds_3, seen_3, frauds_7, seen_7, frauds_21, seen_21, plain_frauds_21,
       date_part('epoch', event_time) - date_part('epoch', last_fraud) AS since_last,
       date_part('epoch', event_time) - date_part('epoch', first_fraud) AS since_first,
       date_part('isodow', event_time) >= 6 AS weekend, date_part('hour', event_time) AS hour
FROM counted
