-- Made from sql/activity.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql clickhouse prints it with all of them filled in.
SELECT
  sensor,
  ts_ns - ts_ns % param_step_ns AS step_ns,
  SUM(COALESCE(attempts, 0)) AS attempts
FROM records
WHERE
  kind IN ('connection', 'fold')
  AND ts_ns >= param_since_ns
  AND ts_ns < param_until_ns
  AND (
    date > param_since_date
    OR (
      date = param_since_date AND hour >= param_since_hour
    )
  )
  AND (
    date < param_until_date
    OR (
      date = param_until_date AND hour <= param_until_hour
    )
  )
GROUP BY
  sensor,
  ts_ns - ts_ns % param_step_ns
ORDER BY
  step_ns NULLS FIRST,
  sensor NULLS FIRST
LIMIT param_limit
