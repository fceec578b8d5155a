-- @id: habits
-- @title: A transaction that is odd for its customer, or at a terminal with known frauds
-- @status: live
-- @severity: medium
-- @score: {risk} * 1000000
-- @reason: "a fraud with a chance of {risk:.3}"
-- @owner: data-science
-- @entity: customer_id

SELECT tx_id, customer_id,
       predict('habits', paid, mean_90, spread_90, most_90, count_90, median_30, ratio, score_90, to_most, to_median,
               ratio_14, odd_14, count_14, ratio_7, odd_7, count_1, spent_1, count_7, own_frauds,
               frauds_1, seen_1, frauds_3, seen_3, frauds_7, seen_7, frauds_21, seen_21, plain_frauds_21,
               since_last, since_first, weekend, hour) AS risk
FROM habits
