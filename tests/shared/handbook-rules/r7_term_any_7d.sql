-- @id: r7_term_any_7d
-- @title: A known fraud at the terminal within a week
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "terminal {terminal_id}"
-- @owner: data-science

SELECT tx_id, terminal_id
FROM valued
WINDOW known AS (PARTITION BY terminal_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1209599 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING)
QUALIFY sum(fraud) OVER known >= 1
