-- Sources that are where they say they are: they completed a handshake.
SELECT src_ip, COUNT(*) AS proofs, MAX(ts_ns) AS last_ns
FROM records
WHERE src_ip IS NOT NULL
    AND ((kind = 'flow' AND proto = 6 AND COALESCE(midstream, FALSE) = FALSE
            AND conn_state IN ('SF', 'S1', 'S2', 'S3', 'RSTO', 'RSTR'))
        OR (kind = 'alert' AND (evidence LIKE '%"proof":"handshake"%' OR evidence LIKE '%"proof": "handshake"%')))
    AND
    -- include: period
GROUP BY src_ip
ORDER BY src_ip
LIMIT param_limit
