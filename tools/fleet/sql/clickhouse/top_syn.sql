-- Made from sql/top_syn.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql clickhouse prints it with all of them filled in.
WITH marked AS (
  SELECT
    src_ip,
    sensor,
    ts_ns,
    CASE WHEN kind = 'flow' THEN 0 ELSE COALESCE(attempts, 0) END AS attempts,
    CASE WHEN kind = 'flow' THEN NULL ELSE dst_port END AS port,
    CASE WHEN kind = 'flow' THEN NULL ELSE dst_ip END AS host,
    CASE WHEN kind = 'flow' THEN 1 ELSE 0 END AS ended,
    CASE
      WHEN kind = 'flow' AND conn_state IN ('S0', 'REJ', 'RSTOS0', 'SH')
      THEN 1
      ELSE 0
    END AS failed
  FROM records
  WHERE
    kind IN ('connection', 'fold', 'flow')
    AND proto = 6
    AND NOT (
      src_ip IS NULL
    )
    AND COALESCE(interim, FALSE) = FALSE
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
), summed AS (
  SELECT
    src_ip,
    SUM(attempts) AS tries,
    SUM(ended) AS ended,
    SUM(failed) AS failed,
    COUNT(DISTINCT port) AS ports,
    COUNT(DISTINCT host) AS hosts,
    COUNT(DISTINCT sensor) AS sensors,
    MIN(ts_ns) AS first_ns,
    MAX(ts_ns) AS last_ns
  FROM marked
  GROUP BY
    src_ip
)
SELECT
  src_ip,
  tries AS attempts,
  ended,
  failed,
  ports,
  hosts,
  sensors,
  first_ns,
  last_ns
FROM summed
WHERE
  tries > 0
ORDER BY
  tries DESC,
  src_ip NULLS FIRST
LIMIT param_limit
