-- Made from sql/distributed.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql athena prints it with all of them filled in.
WITH seen AS (
  SELECT
    CASE WHEN param_per_sensor = 1 THEN sensor ELSE '' END AS watch,
    sensor,
    src_ip,
    dst_ip,
    dst_port,
    first_ns AS ts_ns,
    CASE WHEN conn_state IN ('S0', 'REJ', 'RSTOS0', 'SH') THEN 1 ELSE 0 END AS failed
  FROM records
  WHERE
    kind = 'flow'
    AND proto = 6
    AND NOT src_ip IS NULL
    AND NOT dst_ip IS NULL
    AND NOT dst_port IS NULL
    AND NOT first_ns IS NULL
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
), touches AS (
  SELECT
    watch,
    sensor,
    dst_ip AS subject1,
    '' AS subject2,
    dst_port AS item,
    ts_ns
  FROM seen
  WHERE
    failed = 1
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
), touched AS (
  SELECT
    e.watch,
    e.subject1,
    e.start_ns,
    s.dst_port,
    s.src_ip
  FROM extents AS e
  JOIN seen AS s
    ON e.watch = s.watch AND e.subject1 = s.dst_ip
  WHERE
    s.failed = 1 AND s.ts_ns > e.start_ns - param_window_ns AND s.ts_ns < e.until_ns
  GROUP BY
    e.watch,
    e.subject1,
    e.start_ns,
    s.dst_port,
    s.src_ip
), crowd AS (
  SELECT
    watch,
    subject1,
    start_ns,
    COUNT(DISTINCT src_ip) AS sources
  FROM touched
  GROUP BY
    watch,
    subject1,
    start_ns
), by_port AS (
  SELECT
    watch,
    subject1,
    start_ns,
    dst_port,
    COUNT(*) AS sources,
    MIN(src_ip) AS source
  FROM touched
  GROUP BY
    watch,
    subject1,
    start_ns,
    dst_port
), by_source AS (
  SELECT
    watch,
    subject1,
    start_ns,
    source,
    SUM(CASE WHEN sources = 1 THEN 1 ELSE 0 END) AS ports_alone
  FROM by_port
  GROUP BY
    watch,
    subject1,
    start_ns,
    source
), alone AS (
  SELECT
    watch,
    subject1,
    start_ns,
    MAX(ports_alone) AS most_alone
  FROM by_source
  GROUP BY
    watch,
    subject1,
    start_ns
)
SELECT
  e.start_ns AS start_ns,
  e.until_ns AS until_ns,
  e.subject1 AS dst_ip,
  e.items AS ports,
  c.sources AS sources,
  a.most_alone AS most_ports_of_one_source,
  e.touches AS attempts,
  e.first_ns AS first_ns,
  e.last_ns AS last_ns,
  e.sensors AS sensors,
  e.sensor AS sensor
FROM extents AS e
JOIN crowd AS c
  ON e.watch = c.watch AND e.subject1 = c.subject1 AND e.start_ns = c.start_ns
JOIN alone AS a
  ON e.watch = a.watch AND e.subject1 = a.subject1 AND e.start_ns = a.start_ns
WHERE
  c.sources >= param_sources AND a.most_alone * 2 <= e.items
ORDER BY
  ports DESC,
  start_ns NULLS FIRST,
  dst_ip NULLS FIRST,
  sensor NULLS FIRST
LIMIT param_limit
