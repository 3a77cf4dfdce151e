-- What was seen for the first time in the period, of everything that is stored up to its end: sources,
-- destinations, or services (a destination and a port that answered).
WITH named AS (
    SELECT
        CASE WHEN param_of = 'source' THEN src_ip ELSE dst_ip END AS address,
        CASE WHEN param_of = 'service' THEN dst_port ELSE -1 END AS port,
        sensor, ts_ns
    FROM records
    WHERE ((param_of <> 'service' AND kind IN ('connection', 'fold'))
            OR (param_of = 'service' AND kind = 'flow'
                AND conn_state IN ('SF', 'S1', 'S2', 'S3', 'RSTO', 'RSTR')))
        AND proto = 6 AND src_ip IS NOT NULL AND dst_ip IS NOT NULL AND dst_port IS NOT NULL
        AND
        -- include: period
),
by_sensor AS (
    SELECT address, port, sensor, MIN(ts_ns) AS begin_ns, MAX(ts_ns) AS end_ns, COUNT(*) AS seen
    FROM named
    GROUP BY address, port, sensor
),
ranked AS (
    SELECT
        address, port, sensor, begin_ns, end_ns, seen,
        ROW_NUMBER() OVER (PARTITION BY address, port ORDER BY begin_ns, sensor) AS place
    FROM by_sensor
)
SELECT
    MIN(begin_ns) AS first_ns, address, port, MIN(CASE WHEN place = 1 THEN sensor ELSE NULL END) AS first_sensor,
    COUNT(*) AS sensors, SUM(seen) AS records, MAX(end_ns) AS last_ns
FROM ranked
GROUP BY address, port
HAVING MIN(begin_ns) >= param_new_since_ns
ORDER BY first_ns, address, port
LIMIT param_limit
