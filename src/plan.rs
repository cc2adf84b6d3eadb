//! The ordered steps for an entity: data, made by pure functions in [`crate::entities`].

use serde::Serialize;
use serde_json::Value;

use crate::arn::Arn;
use crate::aws::Failure;
use crate::steps::Step;

/// What containing one entity means, in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The entity by its canonical ARN, the one that AWS itself returns.
    pub entity: Arn,
    /// The unique id of a user or role: a namesake made later has another.
    pub unique_id: Option<String>,
    /// The steps; those of one phase run at once, phases run one after the other.
    pub steps: Vec<Planned>,
    /// Who else is affected, one sentence each.
    pub affected: Vec<String>,
    /// What is known to stay open after all steps hold, one sentence each. With any, the stage is `Partial`.
    pub residue: Vec<String>,
    /// What could not be read now and may be by a retry, one sentence each; it is part of the residue as well.
    pub unread: Vec<String>,
    /// What people should know beside it, one sentence each.
    pub remarks: Vec<String>,
}

/// A step with its place in the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    /// Steps of a lower phase are done before those of a higher one begin.
    pub phase: u8,
    /// What is changed.
    pub step: Step,
    /// The state before, where the survey has seen it; else it is read before the plan is recorded.
    pub before: Option<Value>,
}

impl Planned {
    /// A step in its phase, with the state before that the survey saw.
    pub fn new(phase: u8, step: impl Into<Step>, before: Option<Value>) -> Self {
        Self {
            phase,
            step: step.into(),
            before,
        }
    }
}

impl Plan {
    /// A plan without steps for the entity by this ARN.
    pub fn of(entity: Arn) -> Self {
        Self {
            entity,
            unique_id: None,
            steps: vec![],
            affected: vec![],
            residue: vec![],
            unread: vec![],
            remarks: vec![],
        }
    }

    /// Notes what stays open since it could not be read; where a retry can help, one is asked for.
    pub(crate) fn leave_open(&mut self, what: &str, failure: &Failure) {
        let sentence = format!("{what}: {failure}");
        if failure.passes() {
            self.unread.push(sentence.clone());
        }
        self.residue.push(sentence);
    }

    /// The canonical ARNs of everything that the plan changes.
    pub fn touches(&self) -> impl Iterator<Item = Arn> + '_ {
        self.steps.iter().filter_map(|planned| planned.step.target())
    }
}
