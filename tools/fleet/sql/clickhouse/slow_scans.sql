-- Made from sql/slow_scans.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql clickhouse prints it with all of them filled in.
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
    AND NOT (
      src_ip IS NULL
    )
    AND NOT (
      dst_ip IS NULL
    )
    AND NOT (
      dst_port IS NULL
    )
    AND NOT (
      first_ns IS NULL
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
), places AS (
  SELECT
    watch,
    sensor,
    src_ip,
    CONCAT(dst_ip, ' ', CAST(dst_port AS Nullable(String))) AS place,
    ts_ns,
    failed
  FROM seen
), touches AS (
  SELECT
    watch,
    sensor,
    src_ip AS subject1,
    '' AS subject2,
    place AS item,
    ts_ns
  FROM places
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
),
-- stage: kept
kept AS (
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
        lead(ts_ns) OVER (PARTITION BY watch, subject1, subject2, item ORDER BY ts_ns NULLS FIRST),
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
    lag(at_ns) OVER (PARTITION BY watch, subject1, subject2 ORDER BY at_ns NULLS FIRST) AS before_ns
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
),
-- stage: extents
extents AS (
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
), tried AS (
  SELECT
    e.watch,
    e.subject1,
    e.start_ns,
    COUNT(DISTINCT p.place) AS places_tried
  FROM extents AS e
  JOIN places AS p
    ON e.watch = p.watch AND e.subject1 = p.src_ip
  WHERE
    p.ts_ns > e.start_ns - param_window_ns AND p.ts_ns < e.until_ns
  GROUP BY
    e.watch,
    e.subject1,
    e.start_ns
)
SELECT
  e.start_ns AS start_ns,
  e.until_ns AS until_ns,
  e.subject1 AS src_ip,
  e.items AS places_failed,
  t.places_tried AS places_tried,
  e.touches AS attempts,
  e.first_ns AS first_ns,
  e.last_ns AS last_ns,
  e.sensors AS sensors,
  e.sensor AS sensor
FROM extents AS e
JOIN tried AS t
  ON e.watch = t.watch AND e.subject1 = t.subject1 AND e.start_ns = t.start_ns
WHERE
  e.last_ns - e.first_ns >= param_span_ns
  AND e.items * 100 >= t.places_tried * param_failed_percent
ORDER BY
  places_failed DESC,
  start_ns NULLS FIRST,
  src_ip NULLS FIRST,
  sensor NULLS FIRST
LIMIT param_limit
