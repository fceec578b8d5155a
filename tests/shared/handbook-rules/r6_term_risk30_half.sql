-- @id: r6_term_risk30_half
-- @title: Half of the terminal's known payments were frauds
-- @status: live
-- @severity: medium
-- @score: 0
-- @reason: "terminal {terminal_id}"
-- @owner: data-science

SELECT tx_id, terminal_id
FROM valued
WINDOW known AS (PARTITION BY terminal_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '3196799 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING)
QUALIFY count(*) OVER known >= 1 AND sum(fraud) OVER known * 1.0 / count(*) OVER known >= 0.5
