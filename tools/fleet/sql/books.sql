-- What the books of each sensor cover, cut to the period, in order. `reached_ns`: how far the books before went.
-- stage: clipped
clipped AS (
    SELECT
        sensor, GREATEST(first_ns, param_from_ns) AS from_ns, LEAST(last_ns, param_to_ns) AS to_ns,
        COALESCE(lost, 0) AS lost, COALESCE(not_watched_ns, 0) AS not_watched_ns
    FROM records
    WHERE kind = 'books' AND first_ns IS NOT NULL AND last_ns IS NOT NULL
        AND last_ns >= param_from_ns AND first_ns < param_to_ns
        AND
        -- include: period
),
bounds AS (
    SELECT MIN(from_ns) AS begin_ns, MAX(to_ns) AS end_ns FROM clipped
),
ordered AS (
    SELECT
        sensor, from_ns, to_ns, lost, not_watched_ns,
        MAX(to_ns) OVER (
            PARTITION BY sensor ORDER BY from_ns, to_ns, lost, not_watched_ns
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS reached_ns
    FROM clipped
),
stretches AS (
    SELECT
        o.sensor AS sensor, o.from_ns AS from_ns, o.to_ns AS to_ns, o.lost AS lost,
        o.not_watched_ns AS not_watched_ns, GREATEST(COALESCE(o.reached_ns, b.begin_ns), b.begin_ns) AS reached_ns,
        b.begin_ns AS begin_ns, b.end_ns AS end_ns
    FROM ordered o
    CROSS JOIN bounds b
)
