//! AWS at the edge: clients, sessions in member accounts, and what a failed call means.

pub mod accounts;
pub mod failure;

pub use accounts::{Accounts, Member};
pub use failure::{Failure, Reason};
