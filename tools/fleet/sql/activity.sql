-- Attempts of each sensor in steps of param_step_ns.
SELECT sensor, ts_ns - ts_ns % param_step_ns AS step_ns, SUM(COALESCE(attempts, 0)) AS attempts
FROM records
WHERE kind IN ('connection', 'fold')
    AND
    -- include: period
GROUP BY sensor, ts_ns - ts_ns % param_step_ns
ORDER BY step_ns, sensor
LIMIT param_limit
