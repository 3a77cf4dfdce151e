-- Sources by attempts. Of their ended connections: how many were never answered.
WITH marked AS (
    SELECT
        src_ip, sensor, ts_ns,
        CASE WHEN kind = 'flow' THEN 0 ELSE COALESCE(attempts, 0) END AS attempts,
        CASE WHEN kind = 'flow' THEN NULL ELSE dst_port END AS port,
        CASE WHEN kind = 'flow' THEN NULL ELSE dst_ip END AS host,
        CASE WHEN kind = 'flow' THEN 1 ELSE 0 END AS ended,
        CASE WHEN kind = 'flow' AND conn_state IN ('S0', 'REJ', 'RSTOS0', 'SH') THEN 1 ELSE 0 END AS failed
    FROM records
    WHERE kind IN ('connection', 'fold', 'flow') AND proto = 6 AND src_ip IS NOT NULL
        AND COALESCE(interim, FALSE) = FALSE
        AND
        -- include: period
)
, summed AS (
    SELECT
        src_ip, SUM(attempts) AS tries, SUM(ended) AS ended, SUM(failed) AS failed,
        COUNT(DISTINCT port) AS ports, COUNT(DISTINCT host) AS hosts,
        COUNT(DISTINCT sensor) AS sensors, MIN(ts_ns) AS first_ns, MAX(ts_ns) AS last_ns
    FROM marked
    GROUP BY src_ip
)
SELECT src_ip, tries AS attempts, ended, failed, ports, hosts, sensors, first_ns, last_ns
FROM summed
WHERE tries > 0
ORDER BY tries DESC, src_ip
LIMIT param_limit
