-- @id: habits-features
-- @title: What the model of habits is trained on
-- @status: draft
-- @severity: low
-- @score: 0
-- @reason: "features of transaction {tx_id}"
-- @owner: data-science

SELECT * FROM habits
