-- Ended TCP connections, at the time of their first packet. Failed: never answered by SYN+ACK.
SELECT
    CASE WHEN param_per_sensor = 1 THEN sensor ELSE '' END AS watch,
    sensor, src_ip, dst_ip, dst_port, first_ns AS ts_ns,
    CASE WHEN conn_state IN ('S0', 'REJ', 'RSTOS0', 'SH') THEN 1 ELSE 0 END AS failed
FROM records
WHERE kind = 'flow'
    AND proto = 6 AND src_ip IS NOT NULL AND dst_ip IS NOT NULL AND dst_port IS NOT NULL
    AND first_ns IS NOT NULL AND COALESCE(interim, FALSE) = FALSE
    AND
    -- include: period
