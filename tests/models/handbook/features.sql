-- @id: features
-- @title: What a model is trained on
-- @status: draft
-- @severity: low
-- @score: 0
-- @reason: "features of transaction {tx_id}"
-- @owner: data-science

SELECT * FROM features
