//! How a containment stands, in words: what the verbs that read the journal have in common.

use entity_lockdown::entity::Entity;
use entity_lockdown::journal::Stored;
use entity_lockdown::moment::Moment;
use entity_lockdown::record::{Record, RecordedStep, Status, StepState};

/// The stage, and whether work on it is under way or was cut off.
pub fn stage(stored: &Stored, now: Moment) -> String {
    let status = stored.record.status;
    let worked_on = is_worked_on(stored, now);
    match status {
        Status::Containing | Status::Releasing if worked_on => status.to_string(),
        Status::Containing => "containing, interrupted".to_owned(),
        Status::Releasing => "releasing, unfinished".to_owned(),
        Status::Contained | Status::Partial | Status::Failed | Status::Released if worked_on => {
            format!("{status}, being worked on")
        }
        Status::Contained | Status::Partial | Status::Failed | Status::Released => status.to_string(),
    }
}

/// Whether the function works on it at this moment.
pub fn is_worked_on(stored: &Stored, now: Moment) -> bool {
    stored.lease.as_ref().is_some_and(|lease| lease.until > now)
}

/// What is left to do, one sentence each: steps that do not hold, or, in a release, steps that were not put back.
pub fn left(record: &Record) -> Vec<String> {
    let releasing = record.status == Status::Releasing;
    let due = |step: &&RecordedStep| part(step, releasing) == Part::Left;
    let words = |step: &RecordedStep| {
        let what = if releasing {
            step.step.describe_undo(&step.before)
        } else {
            step.step.describe()
        };
        match &step.detail {
            Some(why) => format!("{what}: {why}"),
            None => what,
        }
    };
    record.steps.iter().filter(due).map(words).collect()
}

/// How many of the steps hold, as `2 of 3 steps hold`; in a release, how many were put back.
pub fn progress(record: &Record) -> String {
    let releasing = record.status == Status::Releasing;
    let parts: Vec<Part> = record.steps.iter().map(|step| part(step, releasing)).collect();
    let done = parts.iter().filter(|part| **part == Part::Done).count();
    let all = parts.iter().filter(|part| **part != Part::Beside).count();
    format!(
        "{done} of {all} steps {}",
        if releasing { "are put back" } else { "hold" }
    )
}

/// Where a step stands on the way to what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Done,
    Left,
    /// It does not count.
    Beside,
}

fn part(step: &RecordedStep, releasing: bool) -> Part {
    match (step.state, releasing) {
        (StepState::Replaced | StepState::Skipped, _) => Part::Beside,
        (_, true) if !step.step.reverses() => Part::Beside,
        (StepState::Unchanged, _) => Part::Done,
        (StepState::Applied, false) => Part::Done,
        (StepState::Undone | StepState::Untouched | StepState::Kept | StepState::Gone, true) => Part::Done,
        (StepState::Applied | StepState::Left, true) => Part::Left,
        (StepState::Planned | StepState::Failed, _) => Part::Left,
        // What a release has let go of is no part of a containment that began after it.
        (StepState::Undone | StepState::Untouched | StepState::Kept | StepState::Gone | StepState::Left, false) => {
            Part::Beside
        }
    }
}

/// For people: `IAM user alice in account 222222222222`, with the region where there is one.
pub fn label(record: &Record) -> String {
    match record.entity.to_string().parse::<Entity>() {
        Ok(entity) => {
            let region = entity
                .region
                .as_ref()
                .map(|region| format!(", {region}"))
                .unwrap_or_default();
            format!("{entity} in account {}{region}", entity.account)
        }
        Err(_) => record.entity.to_string(),
    }
}

#[cfg(test)]
pub mod tests {
    use entity_lockdown::journal::Lease;
    use entity_lockdown::notice::Stage;
    use entity_lockdown::plan::Planned;
    use entity_lockdown::request::{Action, Claims, Follows, Message, Request};
    use entity_lockdown::steps::Step;
    use serde_json::json;

    use super::*;

    /// A moment of the day that all tests happen on.
    pub fn at(second: u64) -> Moment {
        "2026-11-22T17:00:00Z"
            .parse::<Moment>()
            .expect("a time")
            .plus_seconds(second)
    }

    /// A request about the user of this name.
    pub fn request(name: &str, action: Action, message: &str, second: u64) -> Request {
        Request {
            action,
            entity: format!("arn:aws:iam::222222222222:user/{name}")
                .parse()
                .expect("an entity"),
            message: Message {
                id: message.to_owned(),
                sent: at(second),
                topic: "arn:aws:sns:us-east-1:111111111111:requests".to_owned(),
            },
            claims: Claims {
                reason: Some("key leaked".to_owned()),
                ..Claims::default()
            },
            force: false,
            reactivate_keys: false,
            resumed: false,
            follows: Follows::Delivery,
        }
    }

    /// A record of the user of this name whose one step is in this state, and whose message has ended so.
    pub fn stored(name: &str, status: Status, state: StepState, ended: Option<Stage>) -> Stored {
        let request = request(name, Action::Contain, "m1", 0);
        let mut record = Record::begin(&request, at(0));
        let seen = record.seen_mut(&request);
        (seen.attempts, seen.ended) = (1, ended);
        seen.notices = [Stage::Started].into_iter().chain(ended).collect();
        let step: Step = serde_json::from_value(json!({"change": "attach-policy", "principal": {
            "kind": "user", "name": name, "arn": format!("arn:aws:iam::222222222222:user/{name}"), "id": "AIDA1"}}))
        .expect("a step");
        let mut step = RecordedStep::planned(Planned::new(0, step, None), json!({"attached": false}), at(1));
        let why = (state == StepState::Failed).then(|| "iam:AttachUserPolicy: AccessDenied".to_owned());
        step.becomes(state, why, at(1));
        (record.steps, record.status) = (vec![step], status);
        if let Some(stage) = ended {
            record.happened(at(2), format!("contain: {stage}"));
        }
        Stored {
            record,
            version: 2,
            lease: None,
            asked: None,
        }
    }

    #[test]
    fn an_interrupted_containment_is_told_from_one_under_way() {
        let mut stored = stored("alice", Status::Containing, StepState::Planned, None);
        assert_eq!(stage(&stored, at(5)), "containing, interrupted");
        stored.lease = Some(Lease {
            holder: "f".to_owned(),
            until: at(10),
        });
        assert_eq!(stage(&stored, at(5)), "containing");
        assert_eq!(stage(&stored, at(10)), "containing, interrupted");
    }

    #[test]
    fn what_is_left_are_steps_that_do_not_hold_or_were_not_put_back() {
        for (status, state, expected) in [
            (Status::Contained, StepState::Applied, None),
            (
                Status::Partial,
                StepState::Failed,
                Some("attach AWSDenyAll to the user alice: iam:AttachUserPolicy: AccessDenied"),
            ),
            (
                Status::Releasing,
                StepState::Applied,
                Some("detach AWSDenyAll from the user alice"),
            ),
            (Status::Releasing, StepState::Undone, None),
            (Status::Releasing, StepState::Unchanged, None),
        ] {
            let found = left(&stored("alice", status, state, None).record);
            assert_eq!(found.first().map(String::as_str), expected, "{status} {state:?}");
        }
    }

    #[test]
    fn progress_counts_what_holds_or_was_put_back() {
        assert_eq!(
            progress(&stored("a", Status::Containing, StepState::Applied, None).record),
            "1 of 1 steps hold"
        );
        assert_eq!(
            progress(&stored("a", Status::Releasing, StepState::Applied, None).record),
            "0 of 1 steps are put back"
        );
    }
}
