//! Locks a compromised AWS entity down from one SNS message, proves it, mails it, and can undo it.
//!
//! The modules, in the order in which a message meets them:
//!
//! - [`ingress`] reads the event; [`request`] is what was asked, [`arn`] and [`entity`] what it names, [`settings`] what is configured.
//! - [`event`] tells CloudTrail records and findings apart and what they name; [`rules`] decide what is done about them.
//! - [`automatic`] does what they decide, with all that makes it less.
//! - [`guard`] says what may never be touched.
//! - [`entities`] survey AWS (one file a kind of entity) and [`plan`] the steps, purely.
//! - [`record`] is what a containment is remembered by, [`journal`] where, [`admit`] decides what a request means for it.
//! - [`steps`] change AWS and change it back (one file a kind of change), through [`aws`].
//! - [`execute`] contains, [`release`] undoes, `resume` finishes what an invocation left ([`wake`]), `watch` repairs what drifts, `traces` names what an identity had made, [`notice`] tells people and programs.
//! - [`handler`] holds all of it together, with what `deps` keeps between invocations.

pub mod admit;
mod apply;
pub mod arn;
pub mod automatic;
pub mod aws;
pub mod cidr;
mod closing;
mod deps;
pub mod entities;
pub mod entity;
pub mod event;
pub mod execute;
mod fall_back;
#[cfg(test)]
mod fuzz;
pub mod guard;
pub mod handler;
pub mod ingress;
pub mod journal;
pub mod moment;
pub mod notice;
mod passing;
mod persist;
pub mod plan;
pub mod record;
mod recording;
pub mod release;
pub mod request;
mod resume;
pub mod rules;
pub mod settings;
pub mod steps;
mod traces;
pub mod trail;
pub mod wake;
mod watch;
mod work;
#[cfg(test)]
mod world;
