-- @id: r3_3x_avg30
-- @title: Three times the customer's own mean
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: data-science

SELECT tx_id
FROM odd_amounts
WHERE odd = 1
