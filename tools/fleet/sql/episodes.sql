-- From `touches` (watch, sensor, subject1, subject2, item, ts_ns): every time at which a subject has at least
-- param_at_least distinct items with a touch younger than param_window_ns. Exact and sliding, without DISTINCT in a
-- window: a touch of an item holds from its time until it is that old, or until the next touch of the same item.
-- The rule fires when the number of held items reaches the threshold, and re-arms when it has been below for a window.
candidates AS (
    SELECT watch, subject1, subject2
    FROM touches
    GROUP BY watch, subject1, subject2
    HAVING COUNT(DISTINCT item) >= param_at_least
),
-- stage: kept
kept AS (
    SELECT t.watch, t.sensor, t.subject1, t.subject2, t.item, t.ts_ns
    FROM touches t
    JOIN candidates c ON t.watch = c.watch AND t.subject1 = c.subject1 AND t.subject2 = c.subject2
),
spans AS (
    SELECT
        watch, subject1, subject2, ts_ns AS begin_ns,
        LEAST(
            ts_ns + param_window_ns,
            COALESCE(
                LEAD(ts_ns) OVER (PARTITION BY watch, subject1, subject2, item ORDER BY ts_ns),
                ts_ns + param_window_ns
            )
        ) AS end_ns
    FROM kept
),
edges AS (
    SELECT watch, subject1, subject2, begin_ns AS at_ns, 1 AS step FROM spans
    UNION ALL
    SELECT watch, subject1, subject2, end_ns AS at_ns, -1 AS step FROM spans
),
moments AS (
    SELECT watch, subject1, subject2, at_ns, SUM(step) AS step
    FROM edges
    GROUP BY watch, subject1, subject2, at_ns
),
counts AS (
    SELECT
        watch, subject1, subject2, at_ns, step,
        SUM(step) OVER (
            PARTITION BY watch, subject1, subject2 ORDER BY at_ns
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS held
    FROM moments
),
turns AS (
    SELECT
        watch, subject1, subject2, at_ns, held,
        LAG(at_ns) OVER (PARTITION BY watch, subject1, subject2 ORDER BY at_ns) AS before_ns
    FROM counts
    WHERE (held >= param_at_least AND held - step < param_at_least)
        OR (held < param_at_least AND held - step >= param_at_least)
),
numbered AS (
    SELECT
        watch, subject1, subject2, at_ns,
        SUM(
            CASE
                WHEN held >= param_at_least
                    AND (before_ns IS NULL OR at_ns - before_ns >= param_window_ns) THEN 1
                ELSE 0
            END
        ) OVER (
            PARTITION BY watch, subject1, subject2 ORDER BY at_ns
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS episode
    FROM turns
),
episodes AS (
    SELECT watch, subject1, subject2, episode, MIN(at_ns) AS start_ns, MAX(at_ns) AS until_ns
    FROM numbered
    GROUP BY watch, subject1, subject2, episode
),
-- stage: extents
extents AS (
    SELECT
        e.watch, e.subject1, e.subject2, e.start_ns, e.until_ns,
        COUNT(DISTINCT k.item) AS items, COUNT(*) AS touches,
        MIN(k.item) AS lowest_item, MAX(k.item) AS highest_item,
        MIN(k.ts_ns) AS first_ns, MAX(k.ts_ns) AS last_ns,
        COUNT(DISTINCT k.sensor) AS sensors, MIN(k.sensor) AS sensor
    FROM episodes e
    JOIN kept k ON e.watch = k.watch AND e.subject1 = k.subject1 AND e.subject2 = k.subject2
    WHERE k.ts_ns > e.start_ns - param_window_ns AND k.ts_ns < e.until_ns
    GROUP BY e.watch, e.subject1, e.subject2, e.start_ns, e.until_ns
)
