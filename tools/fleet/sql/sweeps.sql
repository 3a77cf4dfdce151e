-- Sources and a port: at least param_at_least destinations within param_window_ns.
WITH seen AS (
    -- include: attempts
),
touches AS (
    SELECT watch, sensor, src_ip AS subject1, dst_port AS subject2, dst_ip AS item, ts_ns FROM seen
),
-- include: episodes
SELECT
    start_ns, until_ns, subject1 AS src_ip, subject2 AS dst_port, items AS hosts, touches AS attempts,
    lowest_item AS lowest_host, highest_item AS highest_host, first_ns, last_ns, sensors, sensor
FROM extents
ORDER BY items DESC, start_ns, src_ip, dst_port, sensor
LIMIT param_limit
