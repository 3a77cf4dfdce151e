-- Pairs of a source and a destination: at least param_at_least ports within param_window_ns.
WITH seen AS (
    -- include: attempts
),
touches AS (
    SELECT watch, sensor, src_ip AS subject1, dst_ip AS subject2, dst_port AS item, ts_ns FROM seen
),
-- include: episodes
SELECT
    start_ns, until_ns, subject1 AS src_ip, subject2 AS dst_ip, items AS ports, touches AS attempts,
    lowest_item AS lowest_port, highest_item AS highest_port, first_ns, last_ns, sensors, sensor
FROM extents
ORDER BY items DESC, start_ns, src_ip, dst_ip, sensor
LIMIT param_limit
