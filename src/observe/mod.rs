//! What an operator sees of a running sensor: counters, health.
