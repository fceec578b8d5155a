-- @id: r5_term_2frauds_7d
-- @title: Two known frauds at the terminal within a week
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "{frauds} frauds at terminal {terminal_id}"
-- @owner: data-science

SELECT tx_id, terminal_id, sum(fraud) OVER known AS frauds
FROM valued
WINDOW known AS (PARTITION BY terminal_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1209599 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING)
QUALIFY frauds >= 2
