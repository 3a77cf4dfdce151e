-- Destinations: at least param_at_least closed ports within param_window_ns, by at least param_sources sources, of which
-- none touched more than half of the ports alone.
WITH seen AS (
    -- include: tried_places
),
touches AS (
    SELECT watch, sensor, dst_ip AS subject1, '' AS subject2, dst_port AS item, ts_ns
    FROM seen
    WHERE failed = 1
),
-- include: episodes
,
-- stage: touched
touched AS (
    SELECT e.watch, e.subject1, e.start_ns, s.dst_port, s.src_ip
    FROM extents e
    JOIN seen s ON e.watch = s.watch AND e.subject1 = s.dst_ip
    WHERE s.failed = 1 AND s.ts_ns > e.start_ns - param_window_ns AND s.ts_ns < e.until_ns
    GROUP BY e.watch, e.subject1, e.start_ns, s.dst_port, s.src_ip
),
crowd AS (
    SELECT watch, subject1, start_ns, COUNT(DISTINCT src_ip) AS sources
    FROM touched
    GROUP BY watch, subject1, start_ns
),
by_port AS (
    SELECT watch, subject1, start_ns, dst_port, COUNT(*) AS sources, MIN(src_ip) AS source
    FROM touched
    GROUP BY watch, subject1, start_ns, dst_port
),
by_source AS (
    SELECT watch, subject1, start_ns, source, SUM(CASE WHEN sources = 1 THEN 1 ELSE 0 END) AS ports_alone
    FROM by_port
    GROUP BY watch, subject1, start_ns, source
),
alone AS (
    SELECT watch, subject1, start_ns, MAX(ports_alone) AS most_alone
    FROM by_source
    GROUP BY watch, subject1, start_ns
)
SELECT
    e.start_ns AS start_ns, e.until_ns AS until_ns, e.subject1 AS dst_ip, e.items AS ports, c.sources AS sources,
    a.most_alone AS most_ports_of_one_source, e.touches AS attempts, e.first_ns AS first_ns, e.last_ns AS last_ns,
    e.sensors AS sensors, e.sensor AS sensor
FROM extents e
JOIN crowd c ON e.watch = c.watch AND e.subject1 = c.subject1 AND e.start_ns = c.start_ns
JOIN alone a ON e.watch = a.watch AND e.subject1 = a.subject1 AND e.start_ns = a.start_ns
WHERE c.sources >= param_sources AND a.most_alone * 2 <= e.items
ORDER BY ports DESC, start_ns, dst_ip, sensor
LIMIT param_limit
