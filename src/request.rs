//! What was asked, by which message, when and why.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::entity::Entity;
use crate::moment::Moment;

/// What a message can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Lock the entity down.
    Contain,
    /// Put everything back.
    Release,
    /// Say what `contain` would do, and change nothing.
    Plan,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contain => "contain",
            Self::Release => "release",
            Self::Plan => "plan",
        })
    }
}

/// A word that is none of the actions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Action is not one of `contain`, `release` and `plan`")]
pub struct NotAnAction;

impl FromStr for Action {
    type Err = NotAnAction;

    fn from_str(text: &str) -> Result<Self, NotAnAction> {
        match text {
            "contain" => Ok(Self::Contain),
            "release" => Ok(Self::Release),
            "plan" => Ok(Self::Plan),
            _ => Err(NotAnAction),
        }
    }
}

/// The message that carried a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id: the same for every copy.
    pub id: String,
    /// When SNS took it.
    pub sent: Moment,
    /// The topic that it was published to: where a release can be published.
    pub topic: String,
}

/// Who asked and why, as the message claims: recorded and mailed as claimed, never as known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The incident's id in the team's own tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Whose it is, as the rules and the entity's tags say: of what the automation contains alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
}

/// One action on one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// To what.
    pub entity: Entity,
    /// By which message.
    pub message: Message,
    /// Why, as claimed.
    pub claims: Claims,
    /// A release may overwrite what somebody else has changed since.
    pub force: bool,
    /// A release makes the access keys active again that containment made inactive.
    pub reactivate_keys: bool,
    /// Whether a wake-up, the watch, or a further try of one invocation goes on with it: no delivery of the message, and none of its
    /// attempts.
    pub resumed: bool,
    /// What follows, should it fail for a reason that passes.
    pub follows: Follows,
}

impl Request {
    /// Whether a wake-up or the watch goes on with it, where a delivery has left off.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.follows, Follows::WakeUp | Follows::Word { .. })
    }
}

/// What follows a try that fails for a reason that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Lambda's next delivery, as long as the message has attempts left.
    Delivery,
    /// Another try of the same invocation.
    Try,
    /// Another wake-up, or the next watch: they go on where deliveries have left off.
    WakeUp,
    /// Another wake-up, for which nobody should have to wait any longer: how it stands is told now, if it wasn't.
    Word {
        /// Even where it can't be noted that it was told: one of many wake-ups does.
        unnoted: bool,
    },
}
