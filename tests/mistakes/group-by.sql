-- @id: group-by
-- @title: A mistake
-- @status: live
-- @severity: low
-- @score: 10
-- @reason: "{n} payments"
-- @owner: fraud

SELECT card_id, count(*) AS n FROM payments GROUP BY card_id HAVING count(*) > 5
