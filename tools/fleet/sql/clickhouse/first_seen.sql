-- Made from sql/first_seen.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql clickhouse prints it with all of them filled in.
WITH named AS (
  SELECT
    CASE WHEN param_of = 'source' THEN src_ip ELSE dst_ip END AS address,
    CASE WHEN param_of = 'service' THEN dst_port ELSE -1 END AS port,
    sensor,
    ts_ns
  FROM records
  WHERE
    (
      (
        param_of <> 'service' AND kind IN ('connection', 'fold')
      )
      OR (
        param_of = 'service'
        AND kind = 'flow'
        AND conn_state IN ('SF', 'S1', 'S2', 'S3', 'RSTO', 'RSTR')
      )
    )
    AND proto = 6
    AND NOT (
      src_ip IS NULL
    )
    AND NOT (
      dst_ip IS NULL
    )
    AND NOT (
      dst_port IS NULL
    )
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
), by_sensor AS (
  SELECT
    address,
    port,
    sensor,
    MIN(ts_ns) AS begin_ns,
    MAX(ts_ns) AS end_ns,
    COUNT(*) AS seen
  FROM named
  GROUP BY
    address,
    port,
    sensor
), ranked AS (
  SELECT
    address,
    port,
    sensor,
    begin_ns,
    end_ns,
    seen,
    ROW_NUMBER() OVER (PARTITION BY address, port ORDER BY begin_ns NULLS FIRST, sensor NULLS FIRST) AS place
  FROM by_sensor
)
SELECT
  MIN(begin_ns) AS first_ns,
  address,
  port,
  MIN(CASE WHEN place = 1 THEN sensor ELSE NULL END) AS first_sensor,
  COUNT(*) AS sensors,
  SUM(seen) AS records,
  MAX(end_ns) AS last_ns
FROM ranked
GROUP BY
  address,
  port
HAVING
  MIN(begin_ns) >= param_new_since_ns
ORDER BY
  first_ns NULLS FIRST,
  address NULLS FIRST,
  port NULLS FIRST
LIMIT param_limit
