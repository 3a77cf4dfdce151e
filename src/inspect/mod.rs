//! Contacts in, detections out: one detector, one file.

pub mod detection;
