-- One row each time that a sensor has no books (`missing`), lost something (`lost`) or was not watching (`not_watched`).
WITH
-- include: books
, tails AS (
    SELECT sensor, MAX(to_ns) AS from_ns, MAX(end_ns) AS to_ns FROM stretches GROUP BY sensor
),
listed AS (
    SELECT sensor, reached_ns AS from_ns, from_ns AS to_ns, 'missing' AS what, 0 AS lost, from_ns - reached_ns AS not_watched_ns
    FROM stretches WHERE from_ns - reached_ns > param_gap_ns
    UNION ALL
    SELECT sensor, from_ns, to_ns, 'missing' AS what, 0 AS lost, to_ns - from_ns AS not_watched_ns
    FROM tails WHERE to_ns - from_ns > param_gap_ns
    UNION ALL
    SELECT sensor, from_ns, to_ns, 'lost' AS what, lost, 0 AS not_watched_ns FROM stretches WHERE lost > 0
    UNION ALL
    SELECT sensor, from_ns, to_ns, 'not_watched' AS what, 0 AS lost, not_watched_ns
    FROM stretches WHERE not_watched_ns > 0
)
SELECT sensor, from_ns, to_ns, what, lost, not_watched_ns
FROM listed
ORDER BY from_ns, sensor, what, to_ns, lost, not_watched_ns
LIMIT param_limit
