-- Attempts of TCP connections. A fold stands for many SYNs to one port: its first and its last are known.
SELECT
    CASE WHEN param_per_sensor = 1 THEN sensor ELSE '' END AS watch,
    sensor, src_ip, dst_ip, dst_port, ts_ns
FROM records
WHERE kind IN ('connection', 'fold')
    AND proto = 6 AND src_ip IS NOT NULL AND dst_ip IS NOT NULL AND dst_port IS NOT NULL
    AND
    -- include: period
UNION ALL
SELECT
    CASE WHEN param_per_sensor = 1 THEN sensor ELSE '' END AS watch,
    sensor, src_ip, dst_ip, dst_port, first_ns AS ts_ns
FROM records
WHERE kind = 'fold'
    AND proto = 6 AND src_ip IS NOT NULL AND dst_ip IS NOT NULL AND dst_port IS NOT NULL
    AND first_ns >= param_since_ns
    AND
    -- include: period
