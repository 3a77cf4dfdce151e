//! What several integration tests need.

pub mod netns;
