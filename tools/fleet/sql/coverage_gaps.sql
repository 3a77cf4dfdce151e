-- No alias is the name of a column beside it: ClickHouse would take the alias.
-- One row each time that a sensor has no books (`missing`), lost something (`lost`) or was not watching (`not_watched`).
WITH
-- include: books
, tails AS (
    SELECT sensor, MAX(to_ns) AS covered_ns, MAX(end_ns) AS stop_ns FROM stretches GROUP BY sensor
),
listed AS (
    SELECT
        sensor, reached_ns AS start_at, from_ns AS end_at, 'missing' AS what, 0 AS lost_count,
        from_ns - reached_ns AS unwatched
    FROM stretches WHERE from_ns - reached_ns > param_gap_ns
    UNION ALL
    SELECT
        sensor, covered_ns AS start_at, stop_ns AS end_at, 'missing' AS what, 0 AS lost_count,
        stop_ns - covered_ns AS unwatched
    FROM tails WHERE stop_ns - covered_ns > param_gap_ns
    UNION ALL
    SELECT sensor, from_ns AS start_at, to_ns AS end_at, 'lost' AS what, lost AS lost_count, 0 AS unwatched
    FROM stretches WHERE lost > 0
    UNION ALL
    SELECT sensor, from_ns AS start_at, to_ns AS end_at, 'not_watched' AS what, 0 AS lost_count, not_watched_ns AS unwatched
    FROM stretches WHERE not_watched_ns > 0
)
SELECT sensor, start_at AS from_ns, end_at AS to_ns, what, lost_count AS lost, unwatched AS not_watched_ns
FROM listed
ORDER BY start_at, sensor, what, end_at, lost_count, unwatched
LIMIT param_limit
