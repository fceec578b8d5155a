-- Whether an amount is odd: three times the mean of the customer's past 30 days, this transaction left out.
CREATE VIEW odd_amounts AS
SELECT tx_id, event_time, customer_id,
       CASE WHEN count(*) OVER past >= 5 AND amount > 3.0 * avg(amount) OVER past THEN 1 ELSE 0 END AS odd
FROM valued
WINDOW past AS (PARTITION BY customer_id ORDER BY event_time
                RANGE BETWEEN INTERVAL '2591999 seconds' PRECEDING AND INTERVAL '1 second' PRECEDING)
