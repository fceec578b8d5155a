-- @id: join-of-streams
-- @title: A mistake
-- @status: live
-- @severity: low
-- @score: 10
-- @reason: "{n} payments"
-- @owner: fraud

SELECT a.card_id, 1 AS n FROM payments a JOIN payments b ON a.card_id = b.card_id
