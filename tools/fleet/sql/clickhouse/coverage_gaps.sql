-- Made from sql/coverage_gaps.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql clickhouse prints it with all of them filled in.
WITH
-- stage: clipped
clipped AS (
  SELECT
    sensor,
    GREATEST(first_ns, param_from_ns) AS from_ns,
    LEAST(last_ns, param_to_ns) AS to_ns,
    COALESCE(lost, 0) AS lost,
    COALESCE(not_watched_ns, 0) AS not_watched_ns
  FROM records
  WHERE
    kind = 'books'
    AND NOT (
      first_ns IS NULL
    )
    AND NOT (
      last_ns IS NULL
    )
    AND last_ns >= param_from_ns
    AND first_ns < param_to_ns
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
), bounds AS (
  SELECT
    MIN(from_ns) AS begin_ns,
    MAX(to_ns) AS end_ns
  FROM clipped
), ordered AS (
  SELECT
    sensor,
    from_ns,
    to_ns,
    lost,
    not_watched_ns,
    MAX(to_ns) OVER (
      PARTITION BY sensor
      ORDER BY from_ns NULLS FIRST, to_ns NULLS FIRST, lost NULLS FIRST, not_watched_ns NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS reached_ns
  FROM clipped
), stretches AS (
  SELECT
    o.sensor AS sensor,
    o.from_ns AS from_ns,
    o.to_ns AS to_ns,
    o.lost AS lost,
    o.not_watched_ns AS not_watched_ns,
    GREATEST(COALESCE(o.reached_ns, b.begin_ns), b.begin_ns) AS reached_ns,
    b.begin_ns AS begin_ns,
    b.end_ns AS end_ns
  FROM ordered AS o
  CROSS JOIN bounds AS b
), tails AS (
  SELECT
    sensor,
    MAX(to_ns) AS covered_ns,
    MAX(end_ns) AS stop_ns
  FROM stretches
  GROUP BY
    sensor
), listed AS (
  SELECT
    sensor,
    reached_ns AS start_at,
    from_ns AS end_at,
    'missing' AS what,
    0 AS lost_count,
    from_ns - reached_ns AS unwatched
  FROM stretches
  WHERE
    from_ns - reached_ns > param_gap_ns
  UNION ALL
  SELECT
    sensor,
    covered_ns AS start_at,
    stop_ns AS end_at,
    'missing' AS what,
    0 AS lost_count,
    stop_ns - covered_ns AS unwatched
  FROM tails
  WHERE
    stop_ns - covered_ns > param_gap_ns
  UNION ALL
  SELECT
    sensor,
    from_ns AS start_at,
    to_ns AS end_at,
    'lost' AS what,
    lost AS lost_count,
    0 AS unwatched
  FROM stretches
  WHERE
    lost > 0
  UNION ALL
  SELECT
    sensor,
    from_ns AS start_at,
    to_ns AS end_at,
    'not_watched' AS what,
    0 AS lost_count,
    not_watched_ns AS unwatched
  FROM stretches
  WHERE
    not_watched_ns > 0
)
SELECT
  sensor,
  start_at AS from_ns,
  end_at AS to_ns,
  what,
  lost_count AS lost,
  unwatched AS not_watched_ns
FROM listed
ORDER BY
  start_at NULLS FIRST,
  sensor NULLS FIRST,
  what NULLS FIRST,
  end_at NULLS FIRST,
  lost_count NULLS FIRST,
  unwatched NULLS FIRST
LIMIT param_limit
