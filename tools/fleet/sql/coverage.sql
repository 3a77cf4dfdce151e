-- One row a sensor: how much of the period its books cover, what it lost, for how long nobody watched.
WITH
-- include: books
, summed AS (
    SELECT
        sensor, MIN(from_ns) AS first_ns, MAX(to_ns) AS last_ns, MIN(begin_ns) AS begin_ns, MAX(end_ns) AS end_ns,
        SUM(lost) AS lost, SUM(not_watched_ns) AS not_watched_ns,
        SUM(CASE WHEN from_ns - reached_ns > param_gap_ns THEN from_ns - reached_ns ELSE 0 END) AS between_ns,
        SUM(CASE WHEN from_ns - reached_ns > param_gap_ns THEN 1 ELSE 0 END) AS gaps
    FROM stretches
    GROUP BY sensor
),
tailed AS (
    SELECT
        sensor, first_ns, last_ns, begin_ns, end_ns, lost, not_watched_ns, between_ns, gaps,
        CASE WHEN end_ns - last_ns > param_gap_ns THEN end_ns - last_ns ELSE 0 END AS tail_ns,
        CASE WHEN end_ns - last_ns > param_gap_ns THEN 1 ELSE 0 END AS tails
    FROM summed
)
SELECT
    sensor, first_ns, last_ns, end_ns - begin_ns AS period_ns, between_ns + tail_ns AS missing_ns,
    gaps + tails AS gaps, not_watched_ns, lost
FROM tailed
ORDER BY between_ns + tail_ns + not_watched_ns DESC, lost DESC, sensor
LIMIT param_limit
