//! The ways in, one file each, all ending in requests.

pub mod sns;
pub mod wake;
pub mod watch;
