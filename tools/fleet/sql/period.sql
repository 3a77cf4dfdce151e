-- Both conditions: the partition columns prune folders, the time is exact.
ts_ns >= param_since_ns
AND ts_ns < param_until_ns
AND (date > param_since_date OR (date = param_since_date AND hour >= param_since_hour))
AND (date < param_until_date OR (date = param_until_date AND hour <= param_until_hour))
