-- Made from sql/coverage.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql athena prints it with all of them filled in.
WITH clipped AS (
  SELECT
    sensor,
    GREATEST(first_ns, param_from_ns) AS from_ns,
    LEAST(last_ns, param_to_ns) AS to_ns,
    COALESCE(lost, 0) AS lost,
    COALESCE(not_watched_ns, 0) AS not_watched_ns
  FROM records
  WHERE
    kind = 'books'
    AND NOT first_ns IS NULL
    AND NOT last_ns IS NULL
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
), summed AS (
  SELECT
    sensor,
    MIN(from_ns) AS first_ns,
    MAX(to_ns) AS last_ns,
    MIN(begin_ns) AS begin_ns,
    MAX(end_ns) AS end_ns,
    SUM(lost) AS lost,
    SUM(not_watched_ns) AS not_watched_ns,
    SUM(
      CASE WHEN from_ns - reached_ns > param_gap_ns THEN from_ns - reached_ns ELSE 0 END
    ) AS between_ns,
    SUM(CASE WHEN from_ns - reached_ns > param_gap_ns THEN 1 ELSE 0 END) AS gaps
  FROM stretches
  GROUP BY
    sensor
), tailed AS (
  SELECT
    sensor,
    first_ns,
    last_ns,
    begin_ns,
    end_ns,
    lost,
    not_watched_ns,
    between_ns,
    gaps,
    CASE WHEN end_ns - last_ns > param_gap_ns THEN end_ns - last_ns ELSE 0 END AS tail_ns,
    CASE WHEN end_ns - last_ns > param_gap_ns THEN 1 ELSE 0 END AS tails
  FROM summed
)
SELECT
  sensor,
  first_ns,
  last_ns,
  end_ns - begin_ns AS period_ns,
  between_ns + tail_ns AS missing_ns,
  gaps + tails AS gaps,
  not_watched_ns,
  lost
FROM tailed
ORDER BY
  between_ns + tail_ns + not_watched_ns DESC,
  lost DESC,
  sensor NULLS FIRST
LIMIT param_limit
