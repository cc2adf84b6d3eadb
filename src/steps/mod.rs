//! The kinds of change, one file each: how its state is read, made so, and put back, and which permissions that takes.
//!
//! A new kind is a new file and one line in the table at the end of this page.

pub mod access_key;
pub mod attach_policy;
pub mod boundary;
pub mod concurrency;
pub mod event_source;
pub mod group_minimum;
pub mod inline_policy;
pub mod instance;
pub mod interface;
pub mod isolate;
pub mod keep_volume;
pub mod network_acl;
pub mod principal;
pub mod security_group;
pub mod settle;
pub mod shutdown_behavior;
pub mod snapshots;
pub mod standby;
pub mod termination_protection;
pub mod tracking_timeouts;
pub mod untrack;

use std::fmt::Debug;
use std::time::Duration;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// A permission that the member role needs: an IAM action, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Permission {
    /// Such as `iam:AttachUserPolicy`.
    pub action: &'static str,
    /// What it is needed for, for people.
    pub used_for: &'static str,
}

/// What came of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The id by which the call can be found in AWS's logs.
    pub request: Option<String>,
    /// What could not be put back exactly as it was, and why.
    pub note: Option<String>,
}

impl Receipt {
    /// The request id of an SDK answer.
    pub fn of(answer: &impl aws_sdk_iam::operation::RequestId) -> Self {
        Self {
            request: answer.request_id().map(str::to_owned),
            note: None,
        }
    }
}

/// For what is worth doing before the locks, and never worth waiting for: a service that does not answer must not keep an intruder's
/// connections open.
pub(crate) const HOLDS_NOTHING_UP: Option<Duration> = Some(Duration::from_secs(5));

/// One kind of reversible change to one AWS resource.
///
/// Steps pass no data to each other; `apply` and `undo` can be repeated.
pub(crate) trait Change: Serialize + DeserializeOwned + Clone + Debug + PartialEq {
    /// The permissions that the calls of this file need.
    const PERMISSIONS: &'static [Permission];
    /// Whether there is something to put back. A step that only prepares for another leaves nothing of its own.
    const REVERSES: bool = true;
    /// Whether it is put back only when a release asks for it by name.
    const ON_REQUEST: bool = false;
    /// Whether the work goes on, and counts as done, where AWS does not support it.
    const DISPENSABLE: bool = false;
    /// Whether it denies a principal everything: another such step on the same principal does its work.
    const DENIES: bool = false;
    /// Whether it opens something for a while, which later steps close.
    const EXPOSES: bool = false;
    /// Whether the record keeps what the change has made, beside the state before: ids and numbers that AWS or the moment chose.
    const REMEMBERS: bool = false;
    /// How long a change is read again until it holds.
    const PATIENCE: Duration = Duration::from_secs(10);
    /// The longest that the steps after it wait for it in all, for a step that may not hold up what locks.
    const AT_MOST: Option<Duration> = None;
    /// The part of the resource's state that is changed.
    type State: Serialize + DeserializeOwned + Clone + Debug + PartialEq;

    /// Names the resource within its kind of change: two containments with one key change the same thing.
    fn resource(&self) -> String;
    /// The canonical ARN of what is changed, for the guard; `None` for what is the product's own.
    fn target(&self) -> Option<Arn>;
    /// What the step does, for people, as in "attach AWSDenyAll to the user alice".
    fn describe(&self) -> String;
    /// What undoing it means, for people.
    fn describe_undo(&self, before: &Self::State) -> String;
    /// How long the work pauses here, for a step that is a pause.
    fn pause(&self) -> Option<Duration> {
        None
    }
    /// Whether a state is the one that the step aims at.
    fn holds(&self, now: &Self::State) -> bool;
    /// Whether a state is one that our own work leaves behind, on its way or at its end.
    fn is_ours(&self, now: &Self::State) -> bool {
        self.holds(now)
    }
    /// Whether nothing of the change is left, the state before having been this.
    fn is_undone(&self, now: &Self::State, before: &Self::State) -> bool {
        now == before
    }
    /// What the change has made, for people, where the record keeps it.
    fn describe_made(&self, _made: &Self::State) -> Option<String> {
        None
    }
    /// Whether the very resource that was changed still exists, and not a namesake.
    async fn exists(&self, member: &Member) -> Result<bool, Failure>;
    /// The state now.
    async fn read(&self, member: &Member) -> Result<Self::State, Failure>;
    /// Makes the change.
    async fn apply(&self, member: &Member, before: &Self::State) -> Result<Receipt, Failure>;
    /// Puts the state before back. `made` is what the record keeps of the change, if it does and the work came that far.
    async fn undo(&self, member: &Member, before: &Self::State, made: Option<&Self::State>)
    -> Result<Receipt, Failure>;
    /// The change could not be made: takes back what an earlier step has opened for it, and says what became of that.
    async fn give_up(&self, _member: &Member, _before: &Self::State) -> Option<String> {
        None
    }
}

/// How long a call is repeated while the resource is busy with an earlier change.
const BUSY_AT_MOST: Duration = Duration::from_secs(20);

/// Repeats a call while AWS says that an earlier change to the same resource is still under way; then its failure is one that
/// a retry can help.
pub(crate) async fn once_free<T>(call: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let ends = tokio::time::Instant::now() + BUSY_AT_MOST;
    let mut pause = Duration::from_millis(200);
    loop {
        let ended = call().await;
        let busy = ended.as_ref().err().is_some_and(|failure| {
            matches!(
                failure.code.as_str(),
                "ResourceConflictException" | "ResourceInUseException"
            )
        });
        if !busy || tokio::time::Instant::now() + pause > ends {
            return ended;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Makes the enum of all steps out of the table, and passes each call on to the step's own file.
///
/// The calls are boxed: held by value, the futures of all kinds of step in one are more than a thread's stack takes.
macro_rules! steps {
    ($($tag:literal $variant:ident = $module:ident::$change:ident;)+) => {
        /// One step. Its name in the record is stable.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "change")]
        pub enum Step {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] #[serde(rename = $tag)] $variant($module::$change),)+
        }

        $(impl From<$module::$change> for Step {
            fn from(step: $module::$change) -> Self {
                Self::$variant(step)
            }
        })+

        impl Step {
            /// The stable name of its kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $tag,)+ }
            }
            /// The key of the change on its resource: the same for all containments that make it.
            pub fn key(&self) -> String {
                match self { $(Self::$variant(step) => format!("{}/{}", $tag, step.resource()),)+ }
            }
            /// The canonical ARN of what is changed; `None` for what is the product's own.
            pub fn target(&self) -> Option<Arn> {
                match self { $(Self::$variant(step) => step.target(),)+ }
            }
            /// What the step does, for people.
            pub fn describe(&self) -> String {
                match self { $(Self::$variant(step) => step.describe(),)+ }
            }
            /// What undoing it means, for people.
            pub fn describe_undo(&self, before: &Value) -> String {
                match self { $(Self::$variant(step) => parsed(before).map_or_else(|_| "put the state before back".to_owned(), |before| step.describe_undo(&before)),)+ }
            }
            /// Whether there is something of its own to put back.
            pub fn reverses(&self) -> bool {
                match self { $(Self::$variant(_) => <$module::$change as Change>::REVERSES,)+ }
            }
            /// Whether it is put back only when a release asks for it by name.
            pub fn on_request(&self) -> bool {
                match self { $(Self::$variant(_) => <$module::$change as Change>::ON_REQUEST,)+ }
            }
            /// Whether the work goes on, and counts as done, where AWS does not support it.
            pub fn dispensable(&self) -> bool {
                match self { $(Self::$variant(_) => <$module::$change as Change>::DISPENSABLE,)+ }
            }
            /// Whether it denies a principal everything.
            pub fn denies(&self) -> bool {
                match self { $(Self::$variant(_) => <$module::$change as Change>::DENIES,)+ }
            }
            /// The calls that it may take, to make it, to read it back, and to undo it.
            pub fn calls(&self) -> Vec<&'static str> {
                let permissions = match self { $(Self::$variant(_) => <$module::$change as Change>::PERMISSIONS,)+ };
                permissions.iter().map(|permission| permission.action).collect()
            }
            /// Whether both, and not as the same step, deny the same principal everything.
            pub fn is_another_deny(&self, other: &Self) -> bool {
                self.denies() && other.denies() && self.target() == other.target() && self.key() != other.key()
            }
            /// Whether it opens something for a while, which later steps close.
            pub fn exposes(&self) -> bool {
                match self { $(Self::$variant(_) => <$module::$change as Change>::EXPOSES,)+ }
            }
            /// How long the work pauses here, for a step that is a pause.
            pub fn pause(&self) -> Option<Duration> {
                match self { $(Self::$variant(step) => step.pause(),)+ }
            }
            /// Whether the record keeps what the change has made.
            pub fn remembers(&self) -> bool {
                match self { $(Self::$variant(_) => <$module::$change as Change>::REMEMBERS,)+ }
            }
            /// How long a change is read again until it holds.
            pub fn patience(&self) -> Duration {
                match self { $(Self::$variant(_) => <$module::$change as Change>::PATIENCE,)+ }
            }
            /// The longest that the steps after it wait for it.
            pub fn at_most(&self) -> Option<Duration> {
                match self { $(Self::$variant(_) => <$module::$change as Change>::AT_MOST,)+ }
            }
            /// Whether a state is the one that the step aims at.
            pub fn holds(&self, now: &Value) -> bool {
                match self { $(Self::$variant(step) => parsed(now).is_ok_and(|now| step.holds(&now)),)+ }
            }
            /// Whether a recorded state can be read as this step's.
            pub fn reads(&self, state: &Value) -> bool {
                match self { $(Self::$variant(_) => parsed::<<$module::$change as Change>::State>(state).is_ok(),)+ }
            }
            /// Whether a state is one that our own work leaves behind.
            pub fn is_ours(&self, now: &Value) -> bool {
                match self { $(Self::$variant(step) => parsed(now).is_ok_and(|now| step.is_ours(&now)),)+ }
            }
            /// Whether nothing of the change is left.
            pub fn is_undone(&self, now: &Value, before: &Value) -> bool {
                match self { $(Self::$variant(step) => match (parsed(now), parsed(before)) {
                    (Ok(now), Ok(before)) => step.is_undone(&now, &before),
                    _ => now == before,
                },)+ }
            }
            /// What the change has made, for people, where the record keeps it.
            pub fn describe_made(&self, made: &Value) -> Option<String> {
                match self { $(Self::$variant(step) => parsed(made).ok().and_then(|made| step.describe_made(&made)),)+ }
            }
            /// Whether the very resource that was changed still exists.
            pub async fn exists(&self, member: &Member) -> Result<bool, Failure> {
                match self { $(Self::$variant(step) => step.exists(member).boxed_local().await,)+ }
            }
            /// The state now.
            pub async fn read(&self, member: &Member) -> Result<Value, Failure> {
                match self { $(Self::$variant(step) => step.read(member).boxed_local().await.map(|state| written(&state)),)+ }
            }
            /// Makes the change.
            pub async fn apply(&self, member: &Member, before: &Value) -> Result<Receipt, Failure> {
                match self { $(Self::$variant(step) => step.apply(member, &self.state(member, before)?).boxed_local().await,)+ }
            }
            /// Puts the state before back.
            pub async fn undo(&self, member: &Member, before: &Value, made: Option<&Value>) -> Result<Receipt, Failure> {
                match self { $(Self::$variant(step) => {
                    let made = made.map(|made| self.state(member, made)).transpose()?;
                    step.undo(member, &self.state(member, before)?, made.as_ref()).boxed_local().await
                })+ }
            }
            /// The change could not be made: takes back what an earlier step has opened for it.
            pub async fn give_up(&self, member: &Member, before: &Value) -> Option<String> {
                match self { $(Self::$variant(step) => step.give_up(member, &parsed(before).ok()?).boxed_local().await,)+ }
            }
            /// Every permission that a step of any kind needs.
            pub fn permissions() -> Vec<Permission> {
                let mut all: Vec<Permission> = [$(<$module::$change as Change>::PERMISSIONS,)+].concat();
                all.sort_unstable();
                all.dedup();
                all
            }
        }
    };
}

impl Step {
    fn state<T: DeserializeOwned>(&self, member: &Member, state: &Value) -> Result<T, Failure> {
        parsed(state).map_err(|error| {
            let message = format!("the recorded state of `{}` can't be read: {error}", self.describe());
            Failure::own(
                "journal",
                self.key(),
                member.account.as_str(),
                "UnreadableRecord",
                message,
            )
        })
    }
}

fn parsed<T: DeserializeOwned>(state: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(state)
}

/// A state as the record holds it. The states are plain data, for which this can't fail.
pub(crate) fn written<T: Serialize>(state: &T) -> Value {
    serde_json::to_value(state).unwrap_or(Value::Null)
}

steps! {
    "attach-policy" AttachPolicy = attach_policy::AttachPolicy;
    "inline-policy" InlinePolicy = inline_policy::InlinePolicy;
    "boundary" Boundary = boundary::Boundary;
    "access-key" AccessKey = access_key::AccessKey;
    "concurrency" Concurrency = concurrency::Concurrency;
    "event-source" EventSource = event_source::EventSource;
    "security-group" SecurityGroup = security_group::OurGroup;
    "shutdown-behavior" ShutdownBehavior = shutdown_behavior::ShutdownBehavior;
    "termination-protection" TerminationProtection = termination_protection::TerminationProtection;
    "keep-volume" KeepVolume = keep_volume::KeepVolume;
    "group-minimum" GroupMinimum = group_minimum::GroupMinimum;
    "standby" Standby = standby::Standby;
    "network-acl" NetworkAcl = network_acl::AclEntry;
    "snapshots" Snapshots = snapshots::Snapshots;
    "tracking-timeouts" TrackingTimeouts = tracking_timeouts::TrackingTimeouts;
    "untrack" Untrack = untrack::Untrack;
    "settle" Settle = settle::Settle;
    "isolate" Isolate = isolate::Isolate;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn failure(code: &str) -> Failure {
        Failure::own("lambda:X", "f", "222222222222", code, "")
    }

    #[tokio::test]
    async fn a_busy_resource_is_asked_again_and_every_other_failure_is_final() {
        for (code, calls) in [
            ("ResourceInUseException", 2),
            ("ResourceConflictException", 2),
            ("Other", 1),
        ] {
            let made = Cell::new(0);
            let ended = once_free(async || {
                made.set(made.get() + 1);
                if made.get() == 1 { Err(failure(code)) } else { Ok(()) }
            })
            .await;
            assert_eq!((made.get(), ended.is_ok()), (calls, calls == 2), "{code}");
        }
    }
}
