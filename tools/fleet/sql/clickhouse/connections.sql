-- Made from sql/connections.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql clickhouse prints it with all of them filled in.
WITH seen AS (
  SELECT
    kind,
    sensor,
    COALESCE(first_ns, ts_ns) AS start_ns,
    src_ip,
    src_port,
    dst_ip,
    dst_port,
    proto,
    service,
    conn_state,
    duration_ns,
    orig_bytes,
    resp_bytes,
    flow_id,
    COALESCE(attempts, 1) AS attempts
  FROM records
  WHERE
    kind IN ('connection', 'fold', 'flow')
    AND (
      src_ip = param_host OR dst_ip = param_host
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
), ended AS (
  SELECT DISTINCT
    sensor,
    flow_id
  FROM seen
  WHERE
    kind = 'flow' AND NOT (
      flow_id IS NULL
    )
), open_ids AS (
  SELECT
    s.sensor AS sensor,
    s.flow_id AS flow_id,
    COUNT(e.flow_id) AS flows
  FROM seen AS s
  LEFT JOIN ended AS e
    ON s.sensor = e.sensor AND s.flow_id = e.flow_id
  WHERE
    s.kind = 'connection' AND NOT (
      s.flow_id IS NULL
    )
  GROUP BY
    s.sensor,
    s.flow_id
), shown AS (
  SELECT
    s.*
  FROM seen AS s
  WHERE
    s.kind IN ('flow', 'fold') OR s.flow_id IS NULL
  UNION ALL
  SELECT
    s.*
  FROM seen AS s
  JOIN open_ids AS o
    ON s.sensor = o.sensor AND s.flow_id = o.flow_id
  WHERE
    s.kind = 'connection' AND o.flows = 0
)
SELECT
  start_ns,
  kind,
  src_ip,
  COALESCE(src_port, -1) AS src_port,
  COALESCE(dst_ip, '') AS dst_ip,
  COALESCE(dst_port, -1) AS dst_port,
  COALESCE(proto, -1) AS proto,
  COALESCE(service, '') AS service,
  COALESCE(conn_state, '') AS conn_state,
  attempts,
  COALESCE(duration_ns, 0) AS duration_ns,
  COALESCE(orig_bytes, 0) AS orig_bytes,
  COALESCE(resp_bytes, 0) AS resp_bytes,
  sensor
FROM shown
ORDER BY
  start_ns DESC,
  src_ip NULLS FIRST,
  src_port NULLS FIRST,
  dst_ip NULLS FIRST,
  dst_port NULLS FIRST,
  sensor NULLS FIRST,
  kind NULLS FIRST,
  conn_state NULLS FIRST
LIMIT param_limit
