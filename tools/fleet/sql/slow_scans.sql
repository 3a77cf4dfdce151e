-- Sources: at least param_at_least failed places (destination and port) within param_window_ns, over at least
-- param_span_ns; at least param_failed_percent of the places tried in that time failed.
WITH seen AS (
    -- include: tried_places
),
places AS (
    SELECT
        watch, sensor, src_ip, CONCAT(dst_ip, ' ', CAST(dst_port AS STRING)) AS place, ts_ns, failed
    FROM seen
),
touches AS (
    SELECT watch, sensor, src_ip AS subject1, '' AS subject2, place AS item, ts_ns
    FROM places
    WHERE failed = 1
),
-- include: episodes
, tried AS (
    SELECT e.watch, e.subject1, e.start_ns, COUNT(DISTINCT p.place) AS places_tried
    FROM extents e
    JOIN places p ON e.watch = p.watch AND e.subject1 = p.src_ip
    WHERE p.ts_ns > e.start_ns - param_window_ns AND p.ts_ns < e.until_ns
    GROUP BY e.watch, e.subject1, e.start_ns
)
SELECT
    e.start_ns AS start_ns, e.until_ns AS until_ns, e.subject1 AS src_ip, e.items AS places_failed,
    t.places_tried AS places_tried, e.touches AS attempts, e.first_ns AS first_ns, e.last_ns AS last_ns,
    e.sensors AS sensors, e.sensor AS sensor
FROM extents e
JOIN tried t ON e.watch = t.watch AND e.subject1 = t.subject1 AND e.start_ns = t.start_ns
WHERE e.last_ns - e.first_ns >= param_span_ns
    AND e.items * 100 >= t.places_tried * param_failed_percent
ORDER BY places_failed DESC, start_ns, src_ip, sensor
LIMIT param_limit
