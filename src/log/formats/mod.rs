//! How records become bytes: one file or folder a format.

pub mod append;
pub mod context;
pub mod eve;
pub mod flow_id;
pub mod interfaces;
#[cfg(test)]
pub(crate) mod samples;
pub mod scratch;
pub mod stamp;
pub mod text;
