-- @id: r1_big_amount
-- @title: A large amount
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "{amount}"
-- @owner: data-science

SELECT tx_id, amount
FROM transactions
WHERE amount > 220
