-- Made from sql/sweeps.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql athena prints it with all of them filled in.
WITH seen AS (
  SELECT
    CASE WHEN param_per_sensor = 1 THEN sensor ELSE '' END AS watch,
    sensor,
    src_ip,
    dst_ip,
    dst_port,
    ts_ns
  FROM records
  WHERE
    kind IN ('connection', 'fold')
    AND proto = 6
    AND NOT src_ip IS NULL
    AND NOT dst_ip IS NULL
    AND NOT dst_port IS NULL
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
  UNION ALL
  SELECT
    CASE WHEN param_per_sensor = 1 THEN sensor ELSE '' END AS watch,
    sensor,
    src_ip,
    dst_ip,
    dst_port,
    first_ns AS ts_ns
  FROM records
  WHERE
    kind = 'fold'
    AND proto = 6
    AND NOT src_ip IS NULL
    AND NOT dst_ip IS NULL
    AND NOT dst_port IS NULL
    AND first_ns >= param_since_ns
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
), touches AS (
  SELECT
    watch,
    sensor,
    src_ip AS subject1,
    dst_port AS subject2,
    dst_ip AS item,
    ts_ns
  FROM seen
), candidates AS (
  SELECT
    watch,
    subject1,
    subject2
  FROM touches
  GROUP BY
    watch,
    subject1,
    subject2
  HAVING
    COUNT(DISTINCT item) >= param_at_least
), kept AS (
  SELECT
    t.watch,
    t.sensor,
    t.subject1,
    t.subject2,
    t.item,
    t.ts_ns
  FROM touches AS t
  JOIN candidates AS c
    ON t.watch = c.watch AND t.subject1 = c.subject1 AND t.subject2 = c.subject2
), spans AS (
  SELECT
    watch,
    subject1,
    subject2,
    ts_ns AS begin_ns,
    LEAST(
      ts_ns + param_window_ns,
      COALESCE(
        LEAD(ts_ns) OVER (PARTITION BY watch, subject1, subject2, item ORDER BY ts_ns NULLS FIRST),
        ts_ns + param_window_ns
      )
    ) AS end_ns
  FROM kept
), edges AS (
  SELECT
    watch,
    subject1,
    subject2,
    begin_ns AS at_ns,
    1 AS step
  FROM spans
  UNION ALL
  SELECT
    watch,
    subject1,
    subject2,
    end_ns AS at_ns,
    -1 AS step
  FROM spans
), moments AS (
  SELECT
    watch,
    subject1,
    subject2,
    at_ns,
    SUM(step) AS step
  FROM edges
  GROUP BY
    watch,
    subject1,
    subject2,
    at_ns
), counts AS (
  SELECT
    watch,
    subject1,
    subject2,
    at_ns,
    step,
    SUM(step) OVER (
      PARTITION BY watch, subject1, subject2
      ORDER BY at_ns NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS held
  FROM moments
), turns AS (
  SELECT
    watch,
    subject1,
    subject2,
    at_ns,
    held,
    LAG(at_ns) OVER (PARTITION BY watch, subject1, subject2 ORDER BY at_ns NULLS FIRST) AS before_ns
  FROM counts
  WHERE
    (
      held >= param_at_least AND held - step < param_at_least
    )
    OR (
      held < param_at_least AND held - step >= param_at_least
    )
), numbered AS (
  SELECT
    watch,
    subject1,
    subject2,
    at_ns,
    SUM(
      CASE
        WHEN held >= param_at_least
        AND (
          before_ns IS NULL OR at_ns - before_ns >= param_window_ns
        )
        THEN 1
        ELSE 0
      END
    ) OVER (
      PARTITION BY watch, subject1, subject2
      ORDER BY at_ns NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS episode
  FROM turns
), episodes AS (
  SELECT
    watch,
    subject1,
    subject2,
    episode,
    MIN(at_ns) AS start_ns,
    MAX(at_ns) AS until_ns
  FROM numbered
  GROUP BY
    watch,
    subject1,
    subject2,
    episode
), extents AS (
  SELECT
    e.watch,
    e.subject1,
    e.subject2,
    e.start_ns,
    e.until_ns,
    COUNT(DISTINCT k.item) AS items,
    COUNT(*) AS touches,
    MIN(k.item) AS lowest_item,
    MAX(k.item) AS highest_item,
    MIN(k.ts_ns) AS first_ns,
    MAX(k.ts_ns) AS last_ns,
    COUNT(DISTINCT k.sensor) AS sensors,
    MIN(k.sensor) AS sensor
  FROM episodes AS e
  JOIN kept AS k
    ON e.watch = k.watch AND e.subject1 = k.subject1 AND e.subject2 = k.subject2
  WHERE
    k.ts_ns > e.start_ns - param_window_ns AND k.ts_ns < e.until_ns
  GROUP BY
    e.watch,
    e.subject1,
    e.subject2,
    e.start_ns,
    e.until_ns
)
SELECT
  start_ns,
  until_ns,
  subject1 AS src_ip,
  subject2 AS dst_port,
  items AS hosts,
  touches AS attempts,
  lowest_item AS lowest_host,
  highest_item AS highest_host,
  first_ns,
  last_ns,
  sensors,
  sensor
FROM extents
ORDER BY
  items DESC,
  start_ns NULLS FIRST,
  src_ip NULLS FIRST,
  dst_port NULLS FIRST,
  sensor NULLS FIRST
LIMIT param_limit
