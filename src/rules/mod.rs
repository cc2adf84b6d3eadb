//! Rules: what is done about which events, as the files of a team say.
//!
//! - A rule's condition is a [`query`] or a pattern of EventBridge; both become one tree, a [`condition::Condition`].
//! - [`RuleSet`] is what a folder of files holds, put together by [`RuleSet::load`]; [`problem`] is all that is wrong with them.
//! - [`RuleSet::decide`] says what is to be done about an event. It is pure and can't fail, and its cost grows with the number of
//!   rules about that kind of event, not with the number of rules.
//!
//! What a condition means of missing fields, arrays, other types, numbers as texts and case is in `docs/rules.md`, and in short:
//! a test asks for any value at its path; a missing field passes none but `= null`; another type passes none; the value in the rule
//! says the type; case counts.

pub mod condition;
mod decide;
mod evaluate;
mod file;
#[cfg(test)]
mod fuzz;
mod index;
mod lexer;
mod load;
mod network;
mod parser;
mod pattern;
mod print;
pub mod problem;
mod rule;
#[cfg(test)]
mod samples;
mod wildcard;
mod words;

pub use condition::Condition;
pub use decide::{Decision, RuleSet};
pub use lexer::Mistake;
pub use parser::parse as query;
pub use pattern::parse as pattern;
pub use rule::{Clause, Origin, Response, Rule, Suppression, Whom};
