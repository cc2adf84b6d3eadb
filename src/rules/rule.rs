//! One rule, and one reason not to apply any.

use std::fmt;

use serde::Serialize;

use super::condition::Condition;
use crate::event::Event;
use crate::event::named::Part;
use crate::moment::Moment;

/// What is done when a rule matches; the later in this order, the stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// Nothing; it is counted.
    Ignore,
    /// A notice.
    Notify,
    /// A notice that says what containment would do.
    Plan,
    /// The entities are contained.
    Contain,
}

impl Response {
    /// All of them, weakest first.
    pub const ALL: [Self; 4] = [Self::Ignore, Self::Notify, Self::Plan, Self::Contain];

    /// The word for it in rule files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Notify => "notify",
            Self::Plan => "plan",
            Self::Contain => "contain",
        }
    }

    /// What is left of it when the entity's tag `entity-lockdown` says this; a tag never makes it stronger. The second part says
    /// that a `never` held a containment back, which the notice must raise: an intruder can tag.
    pub fn under_tag(self, tag: Option<&str>) -> (Self, bool) {
        match tag {
            Some("never") => (self.min(Self::Notify), self == Self::Contain),
            Some("notify") => (self.min(Self::Notify), false),
            _ => (self, false),
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// To which entities of an event a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    /// Who did it.
    Principal,
    /// What it was done to.
    Resource,
    /// Both.
    All,
}

impl Whom {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Principal, Self::Resource, Self::All];

    /// The word for it in rule files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Resource => "resource",
            Self::All => "all",
        }
    }

    /// Whether an entity with this part is meant.
    pub fn means(self, part: Part) -> bool {
        match self {
            Self::All => true,
            Self::Principal => part == Part::Principal,
            Self::Resource => part == Part::Resource,
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's name.
    pub file: String,
    /// The line, counted from one.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What rules and suppressions have in common: to which events they apply, and from whom they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// The name: unique among all rules and suppressions.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// Which events.
    pub condition: Condition,
    /// Why it is there.
    pub reason: Option<String>,
    /// Whose it is.
    pub owner: Option<String>,
    /// Whether it applies at all.
    pub enabled: bool,
    /// From when on it applies no more.
    pub expires: Option<Moment>,
    /// Where it stands.
    pub origin: Origin,
}

impl Clause {
    /// Whether it has expired.
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it applies to this event.
    pub fn matches(&self, event: &Event<'_>, now: Moment) -> bool {
        self.enabled && !self.is_expired(now) && self.condition.holds(event)
    }
}

/// A rule: what is done about which events.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which events.
    pub clause: Clause,
    /// From 1, the highest, to 3.
    pub severity: u8,
    /// What is done.
    pub response: Response,
    /// About which entities.
    pub whom: Whom,
}

/// A suppression: events that no rule is applied to. It always has a reason and an expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct Suppression {
    /// Which events.
    pub clause: Clause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_makes_a_response_weaker_and_never_stronger() {
        use Response::{Contain, Ignore, Notify, Plan};
        for (response, tag, expected) in [
            (Contain, None, (Contain, false)),
            (Contain, Some("contain"), (Contain, false)),
            (Contain, Some("notify"), (Notify, false)),
            (Contain, Some("never"), (Notify, true)),
            (Plan, Some("never"), (Notify, false)),
            (Notify, Some("contain"), (Notify, false)),
            (Ignore, Some("notify"), (Ignore, false)),
            (Contain, Some("Never"), (Contain, false)),
        ] {
            assert_eq!(response.under_tag(tag), expected, "{response} {tag:?}");
        }
    }
}
