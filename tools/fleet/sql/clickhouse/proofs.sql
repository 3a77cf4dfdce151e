-- Made from sql/proofs.sql by generate.py: change that one. Words that begin with param_ are for you to fill in;
-- synledger-fleet QUERY PLACE --show-sql clickhouse prints it with all of them filled in.
SELECT
  src_ip,
  COUNT(*) AS proofs,
  MAX(ts_ns) AS last_ns
FROM records
WHERE
  NOT (
    src_ip IS NULL
  )
  AND (
    (
      kind = 'flow'
      AND proto = 6
      AND COALESCE(midstream, FALSE) = FALSE
      AND conn_state IN ('SF', 'S1', 'S2', 'S3', 'RSTO', 'RSTR')
    )
    OR (
      kind = 'alert'
      AND (
        evidence LIKE '%"proof":"handshake"%' OR evidence LIKE '%"proof": "handshake"%'
      )
    )
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
GROUP BY
  src_ip
ORDER BY
  src_ip NULLS FIRST
LIMIT param_limit
