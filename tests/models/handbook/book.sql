-- @id: book
-- @title: The book's XGBoost
-- @status: live
-- @severity: medium
-- @score: {risk} * 1000000
-- @reason: "a fraud with a chance of {risk:.3}"
-- @owner: data-science
-- @entity: customer_id

SELECT tx_id, customer_id,
       predict('book', tx_amount, during_weekend, during_night, customer_count_1d, customer_average_1d, customer_count_7d,
               customer_average_7d, customer_count_30d, customer_average_30d, terminal_count_1d, terminal_risk_1d,
               terminal_count_7d, terminal_risk_7d, terminal_count_30d, terminal_risk_30d) AS risk
FROM features
