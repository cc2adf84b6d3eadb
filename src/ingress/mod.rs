//! The ways in, one file each, all ending in requests.

pub mod direct;
pub mod events;
pub mod sns;
pub mod wake;
pub mod watch;
