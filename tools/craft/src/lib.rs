//! Builds frames and captures for tests: seeded, byte for byte repeatable.
