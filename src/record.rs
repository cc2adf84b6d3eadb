//! What a containment is remembered by. The format is stable: names are written by hand, and old records parse for ever.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::arn::Arn;
use crate::moment::Moment;
use crate::notice::Stage;
use crate::plan::Planned;
use crate::request::{Action, Claims, Request};
use crate::steps::Step;

/// The version of the format that this code writes.
pub const FORMAT: u32 = 1;

/// How many messages are remembered; older ones are older than the newest decided one, and so refused as stale.
const MESSAGES_KEPT: usize = 50;

/// How many entries the history keeps.
const HISTORY_KEPT: usize = 200;

/// How often a message may fail before its failure is mailed: Lambda delivers an asynchronous event three times.
pub const ATTEMPTS: u32 = 3;

/// The id of one containment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainmentId(String);

impl ContainmentId {
    /// The id that the message `message` gives the containment of the entity by `key`: a repetition gives the same.
    pub fn of(key: &str, message: &str) -> Self {
        let digest = Sha256::digest(format!("{key}\n{message}"));
        Self(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Sixteen hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a containment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Work is under way, or a crash interrupted it.
    Containing,
    /// Every step holds.
    Contained,
    /// Some steps hold, or something known stays open.
    Partial,
    /// No step holds.
    Failed,
    /// A release is under way, or something kept it from ending.
    Releasing,
    /// Everything was put back.
    Released,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Containing => "containing",
            Self::Contained => "contained",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Releasing => "releasing",
            Self::Released => "released",
        })
    }
}

/// How far one step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Recorded; the change may or may not have been made.
    Planned,
    /// Made by us, and read back.
    Applied,
    /// It was so before: kept up, and left by a release.
    Unchanged,
    /// Could not be made, or did not hold.
    Failed,
    /// Could not be made, and another step does its work.
    Replaced,
    /// AWS does not support it here, and the work goes on without it.
    Skipped,
    /// Put back.
    Undone,
    /// Found as it was before, so that nothing was to put back.
    Untouched,
    /// Left locked by a release, since other containments hold the same change.
    Kept,
    /// Left by a release: changed by somebody else since, not asked for, or not possible.
    Left,
    /// Nothing to put back: the resource is gone.
    Gone,
}

/// One step of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedStep {
    /// Its phase in the plan.
    pub phase: u8,
    /// What is changed.
    pub step: Step,
    /// The state before the first containment that holds this change.
    pub before: Value,
    /// How far it has come.
    pub state: StepState,
    /// Why it is so, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// AWS's error code, where one is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether a retry can help what failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passing: bool,
    /// When its state was last changed.
    pub at: Moment,
    /// When the pause ends, for a step that is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// The id by which AWS knows the call that made the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_request: Option<String>,
    /// What the change has made, for the kinds of which that is kept: the state read back when it held. Missing: not made, or by work
    /// that was cut off before it could write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Value>,
}

/// A message that has been seen for this entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// What it asked for.
    pub action: Action,
    /// When SNS took it.
    pub sent: Moment,
    /// How often its work was begun.
    pub attempts: u32,
    /// The stage that it ended in; until then a copy resumes its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Stage>,
    /// The notices sent for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Stage>,
    /// When a wake-up was stored for it: others follow that one, for a day at least, until it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woken: Option<Moment>,
    /// Whether a release may overwrite what somebody else has changed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Whether a release makes access keys active again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reactivate_keys: bool,
    /// Who asked and why, as claimed.
    #[serde(flatten)]
    pub claims: Claims,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// What, for people.
    pub what: String,
}

/// The journal's item for one entity: its present or last containment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format.
    pub format: u32,
    /// Partition, account, region, kind and name.
    pub key: String,
    /// The entity's ARN: the canonical one once it is known.
    pub entity: Arn,
    /// The unique id of a user or role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<String>,
    /// The present or last containment.
    pub containment: ContainmentId,
    /// Where it stands.
    pub status: Status,
    /// When the containment was opened.
    pub opened: Moment,
    /// When this record was last changed.
    pub changed: Moment,
    /// The topic that took the newest message: where a release can be published.
    pub topic: String,
    /// The steps, oldest first.
    pub steps: Vec<RecordedStep>,
    /// Who else is affected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affected: Vec<String>,
    /// What is known to stay open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub residue: Vec<String>,
    /// What people should know beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// What the watch has found changed and could not repair, and has told already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// When it was looked for what the identity had changed in AWS before the deny held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traced: Option<Moment>,
    /// The messages seen, oldest first.
    pub messages: Vec<Seen>,
    /// The newest time of a message that was decided; older ones are stale.
    pub newest: Moment,
    /// What happened, oldest first.
    pub history: Vec<Event>,
}

impl Record {
    /// The record that the first message for an entity begins.
    pub fn begin(request: &Request, now: Moment) -> Self {
        let key = request.entity.key();
        Self {
            format: FORMAT,
            containment: ContainmentId::of(&key, &request.message.id),
            key,
            entity: request.entity.named.clone(),
            unique_id: None,
            status: Status::Containing,
            opened: now,
            changed: now,
            topic: request.message.topic.clone(),
            steps: vec![],
            affected: vec![],
            residue: vec![],
            remarks: vec![],
            drift: None,
            traced: None,
            messages: vec![],
            newest: request.message.sent,
            history: vec![],
        }
    }

    /// Begins a new containment in the same record; what the messages and the history say stays.
    pub fn begin_again(&mut self, request: &Request, now: Moment) {
        let fresh = Self::begin(request, now);
        // What only a release that asks for it puts back waits on.
        let waiting = std::mem::take(&mut self.steps)
            .into_iter()
            .filter(|step| step.state == StepState::Left && step.step.on_request());
        let steps = waiting.collect();
        let (messages, history, newest) = (
            std::mem::take(&mut self.messages),
            std::mem::take(&mut self.history),
            self.newest.max(fresh.newest),
        );
        *self = Self {
            messages,
            history,
            newest,
            steps,
            ..fresh
        };
    }

    /// The entry of a message, if it was seen.
    pub fn seen(&self, message: &str) -> Option<&Seen> {
        self.messages.iter().find(|seen| seen.id == message)
    }

    /// The entry of the request's message; made when it is seen for the first time.
    pub fn seen_mut(&mut self, request: &Request) -> &mut Seen {
        let at = match self.messages.iter().position(|seen| seen.id == request.message.id) {
            Some(at) => at,
            None => {
                let excess = (self.messages.len() + 1).saturating_sub(MESSAGES_KEPT);
                self.messages.drain(..excess);
                self.messages.push(Seen {
                    id: request.message.id.clone(),
                    action: request.action,
                    sent: request.message.sent,
                    attempts: 0,
                    ended: None,
                    notices: vec![],
                    woken: None,
                    force: request.force,
                    reactivate_keys: request.reactivate_keys,
                    claims: request.claims.clone(),
                });
                self.newest = self.newest.max(request.message.sent);
                self.topic.clone_from(&request.message.topic);
                self.messages.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the position was found or made just above")]
        &mut self.messages[at]
    }

    /// Adds to the history, dropping the oldest beyond its limit.
    pub fn happened(&mut self, at: Moment, what: impl Into<String>) {
        let excess = (self.history.len() + 1).saturating_sub(HISTORY_KEPT);
        self.history.drain(..excess);
        self.history.push(Event { at, what: what.into() });
    }

    /// Whether something may still be locked. A failed containment with recorded steps counts: a call that seemed to fail may
    /// have taken effect.
    pub fn is_open(&self) -> bool {
        match self.status {
            Status::Containing | Status::Contained | Status::Partial | Status::Releasing => true,
            Status::Failed => !self.steps.is_empty(),
            Status::Released => false,
        }
    }

    /// The claims of the message that opened the containment, or of the newest one.
    pub fn claims(&self) -> Claims {
        self.messages
            .iter()
            .rev()
            .find(|seen| seen.action == Action::Contain)
            .map(|seen| seen.claims.clone())
            .unwrap_or_default()
    }

    /// Whether a step of the record does the same to the same resource.
    pub fn find(&self, step: &Step) -> Option<usize> {
        self.steps.iter().position(|recorded| recorded.step.key() == step.key())
    }

    /// Whoever worked on the containment has left it, maybe between a change and its record: what was made is looked at afresh.
    pub(crate) fn doubt(&mut self) {
        self.steps.iter_mut().for_each(RecordedStep::doubt);
    }

    /// The stage that the steps and the residue amount to.
    pub fn amounts_to(&self) -> Status {
        let holds = |step: &&RecordedStep| {
            matches!(step.state, StepState::Applied | StepState::Unchanged) && step.step.reverses()
        };
        // What was not opened was not untracked either, and isolation alone does not end what is tracked.
        let open = |step: &RecordedStep| match step.state {
            StepState::Failed | StepState::Planned => true,
            StepState::Skipped => step.step.exposes(),
            StepState::Applied
            | StepState::Unchanged
            | StepState::Replaced
            | StepState::Undone
            | StepState::Untouched
            | StepState::Kept
            | StepState::Left
            | StepState::Gone => false,
        };
        let held = self.steps.iter().filter(holds).count();
        match (self.steps.iter().any(open) || !self.residue.is_empty(), held) {
            (_, 0) => Status::Failed,
            (true, _) => Status::Partial,
            (false, _) => Status::Contained,
        }
    }
}

impl RecordedStep {
    /// A planned step, recorded with its state before.
    pub fn planned(planned: Planned, before: Value, at: Moment) -> Self {
        let Planned { phase, step, before: _ } = planned;
        Self {
            phase,
            step,
            before,
            state: StepState::Planned,
            detail: None,
            code: None,
            passing: false,
            at,
            until: None,
            aws_request: None,
            made: None,
        }
    }

    /// Lets go of what the record says was made: more may have been made since than was written down. An undo then takes back all that
    /// says exactly this and was not there before.
    pub(crate) fn doubt(&mut self) {
        if self.step.remembers() && self.waits_for_undo() {
            self.made = None;
        }
    }

    /// Whether a release has to look after it.
    pub fn waits_for_undo(&self) -> bool {
        // A state before that could not be read belongs to a step that was never applied.
        self.step.reverses()
            && !self.before.is_null()
            && match self.state {
                StepState::Planned
                | StepState::Applied
                | StepState::Failed
                | StepState::Replaced
                | StepState::Left
                | StepState::Skipped
                | StepState::Unchanged => true,
                StepState::Undone | StepState::Untouched | StepState::Kept | StepState::Gone => false,
            }
    }

    /// Whether the step can't be made here, whatever the reason: another one may do its work.
    pub fn is_impossible(&self) -> bool {
        self.state == StepState::Failed && self.code.is_some() && !self.passing
    }

    /// Moves on to another state.
    pub fn becomes(&mut self, state: StepState, detail: Option<String>, at: Moment) {
        (self.state, self.detail, self.code, self.passing, self.at) = (state, detail, None, false, at);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The records that tests/records keeps, by their names: written by earlier versions, readable for ever.
    pub(crate) fn kept() -> Vec<(String, String)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/records");
        let files = std::fs::read_dir(folder).expect("the folder of records");
        let mut kept: Vec<(String, String)> = files
            .map(|file| {
                let path = file.expect("a file").path();
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).expect("a text"))
            })
            .collect();
        kept.sort();
        assert!(kept.len() >= 7, "{kept:?}");
        kept
    }

    #[test]
    fn a_kept_record_reads_and_is_written_as_it_was() {
        for (name, text) in kept() {
            let record: Record = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let before: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(serde_json::to_value(&record).expect("JSON"), before, "{name}");
        }
    }

    #[test]
    fn every_state_before_of_a_kept_record_can_still_be_put_back() {
        for (name, text) in kept() {
            let record: Record = serde_json::from_str(&text).expect("a record");
            assert!(!record.steps.is_empty(), "{name}");
            for step in record.steps.iter().filter(|step| step.step.reverses()) {
                assert!(
                    step.step.reads(&step.before),
                    "{name}: {} from {}",
                    step.step.describe(),
                    step.before
                );
            }
        }
    }

    #[test]
    fn messages_and_history_stay_within_their_limits_and_lose_the_oldest() {
        use crate::admit::tests::request;
        let first = request(Action::Contain, "m0", 0);
        let mut record = Record::begin(&first, first.message.sent);
        for n in 0..300_u64 {
            record.seen_mut(&request(Action::Contain, &format!("m{n}"), n)).attempts += 1;
            record.happened(first.message.sent, format!("event {n}"));
        }
        assert_eq!(
            (record.messages.len(), record.history.len()),
            (MESSAGES_KEPT, HISTORY_KEPT)
        );
        assert_eq!(record.messages.last().map(|seen| seen.id.as_str()), Some("m299"));
        assert_eq!(record.newest, request(Action::Contain, "m299", 299).message.sent);
    }

    #[test]
    fn in_doubt_what_an_undo_goes_by_is_let_go_of_and_evidence_is_not() {
        use crate::steps::network_acl::{AclEntry, Verdict};
        use crate::steps::snapshots::Snapshots;
        let arn = |of: &str| {
            format!("arn:aws:ec2:us-east-1:222222222222:{of}")
                .parse()
                .expect("an ARN")
        };
        let entry = AclEntry {
            acl: "acl-1".to_owned(),
            arn: arn("network-acl/acl-1"),
            verdict: Verdict::Deny,
            cidr: "10.0.0.5/32".parse().expect("a range"),
            number: Some(9),
        };
        let snapshots = Snapshots {
            instance: arn("instance/i-0123456789abcdef0"),
            containment: "c1".to_owned(),
            incident: None,
        };
        let now = Moment::now();
        let mut steps = [Step::from(entry), Step::from(snapshots)].map(|step| {
            let mut step = RecordedStep::planned(Planned::new(0, step, None), serde_json::json!({}), now);
            step.becomes(StepState::Applied, None, now);
            step.made = Some(serde_json::json!({"any": "thing"}));
            step
        });
        steps.iter_mut().for_each(RecordedStep::doubt);
        assert_eq!(steps.map(|step| step.made.is_some()), [false, true]);
    }

    #[test]
    fn contained_is_said_only_when_every_step_holds_and_nothing_stays_open() {
        let text = kept()
            .into_iter()
            .find(|(name, _)| name == "1-instance")
            .expect("the record")
            .1;
        let record: Record = serde_json::from_str(&text).expect("a record");
        assert_eq!(record.amounts_to(), Status::Contained);
        for n in 0..record.steps.len() {
            for state in [StepState::Failed, StepState::Planned] {
                let mut record = record.clone();
                record.steps[n].state = state;
                assert_eq!(record.amounts_to(), Status::Partial, "{n}");
            }
        }
        let with_residue = Record {
            residue: vec!["an interface".to_owned()],
            ..record.clone()
        };
        assert_eq!(with_residue.amounts_to(), Status::Partial);
        let mut nothing = record;
        nothing.steps.iter_mut().for_each(|step| step.state = StepState::Failed);
        assert_eq!(nothing.amounts_to(), Status::Failed);
    }
}
