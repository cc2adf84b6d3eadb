//! Decides what a request means for the record of its entity: a pure function.

use crate::journal::Stored;
use crate::record::{Record, Seen, StepState};
use crate::request::{Action, Follows, Message, Request};

use crate::moment::Moment;

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Begin a containment (or note a release of nothing) in a record that is new or closed.
    Begin,
    /// Go on with the open record.
    Resume,
    /// This very message was carried out: say nothing.
    Duplicate,
    /// A newer request was decided for this entity: refuse.
    Stale,
    /// Somebody else works on the record.
    Held,
}

/// Decides by the record as it is stored.
pub fn admit(stored: Option<&Stored>, request: &Request, holder: &str, now: Moment) -> Admission {
    let Some(stored) = stored else { return Admission::Begin };
    let record = &stored.record;
    if record
        .seen(&request.message.id)
        .is_some_and(|seen| seen.ended.is_some())
    {
        return Admission::Duplicate;
    }
    // Before anything else: what comes too late may not even make others wait, or stop.
    if request.message.sent < record.newest {
        return Admission::Stale;
    }
    if stored.held_by_another(holder, now) {
        return Admission::Held;
    }
    let keys_wait = || {
        record
            .steps
            .iter()
            .any(|step| step.state == StepState::Left && step.step.on_request())
    };
    let resumes = match request.action {
        Action::Contain | Action::Plan => record.is_open(),
        Action::Release => record.is_open() || (request.reactivate_keys && keys_wait()),
    };
    if resumes { Admission::Resume } else { Admission::Begin }
}

/// The newest containment that the record knows of, as the request that it was.
pub fn newest_containment(record: &Record) -> Option<Request> {
    let seen = record
        .messages
        .iter()
        .rev()
        .find(|seen| seen.action == Action::Contain)?;
    asked(record, seen)
}

/// What a message has begun and what was not carried to its end, as the request that it was.
pub fn unfinished(record: &Record, message: &str) -> Option<Request> {
    let seen = record.seen(message)?;
    if seen.ended.is_some() {
        return None;
    }
    asked(record, seen)
}

fn asked(record: &Record, seen: &Seen) -> Option<Request> {
    Some(Request {
        action: seen.action,
        entity: record.entity.to_string().parse().ok()?,
        message: Message {
            id: seen.id.clone(),
            sent: seen.sent,
            topic: record.topic.clone(),
        },
        claims: seen.claims.clone(),
        force: seen.force,
        reactivate_keys: seen.reactivate_keys,
        resumed: true,
        follows: Follows::WakeUp,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::journal::Lease;
    use crate::notice::Stage;
    use crate::record::{Record, Status};
    use crate::request::{Claims, Message};

    /// A request for the user alice, sent at this second of the day.
    pub(crate) fn request(action: Action, id: &str, second: u64) -> Request {
        let base: Moment = "2026-11-22T00:00:00Z".parse().expect("a time");
        Request {
            action,
            entity: "arn:aws:iam::222222222222:user/alice".parse().expect("an entity"),
            message: Message {
                id: id.to_owned(),
                sent: base.plus_seconds(second),
                topic: "arn:aws:sns:us-east-1:111111111111:requests".to_owned(),
            },
            claims: Claims::default(),
            force: false,
            reactivate_keys: false,
            resumed: false,
            follows: Follows::Delivery,
        }
    }

    fn resumed(request: Request) -> Option<Request> {
        Some(Request {
            resumed: true,
            follows: Follows::WakeUp,
            ..request
        })
    }

    fn stored(status: Status, ended: Option<Stage>) -> Stored {
        let first = request(Action::Contain, "m1", 10);
        let mut record = Record::begin(&first, first.message.sent);
        record.seen_mut(&first).ended = ended;
        record.status = status;
        Stored {
            record,
            version: 1,
            lease: None,
            asked: None,
        }
    }

    #[test]
    fn only_what_was_not_carried_to_its_end_is_unfinished() {
        let begun = stored(Status::Containing, None).record;
        assert_eq!(unfinished(&begun, "m1"), resumed(request(Action::Contain, "m1", 10)));
        assert_eq!(unfinished(&begun, "m2"), None);
        let forced = Request {
            force: true,
            ..request(Action::Release, "m3", 30)
        };
        let mut releasing = stored(Status::Releasing, Some(Stage::Contained)).record;
        releasing.seen_mut(&forced);
        assert_eq!(unfinished(&releasing, "m3"), resumed(forced));
        let ended = stored(Status::Contained, Some(Stage::Contained)).record;
        assert_eq!(unfinished(&ended, "m1"), None);
    }

    #[test]
    fn a_message_is_carried_out_once_and_never_out_of_order() {
        let now = request(Action::Contain, "x", 20).message.sent;
        let contained = stored(Status::Contained, Some(Stage::Contained));
        let released = stored(Status::Released, Some(Stage::Contained));
        let crashed = stored(Status::Containing, None);
        for (stored, action, id, second, expected) in [
            (None, Action::Contain, "m1", 10, Admission::Begin),
            (None, Action::Release, "m1", 10, Admission::Begin),
            (Some(&contained), Action::Contain, "m1", 10, Admission::Duplicate),
            (Some(&released), Action::Contain, "m1", 10, Admission::Duplicate),
            (Some(&crashed), Action::Contain, "m1", 10, Admission::Resume),
            (Some(&contained), Action::Contain, "m2", 11, Admission::Resume),
            (Some(&contained), Action::Release, "m2", 11, Admission::Resume),
            (Some(&released), Action::Contain, "m2", 11, Admission::Begin),
            (Some(&released), Action::Release, "m2", 11, Admission::Begin),
            (Some(&contained), Action::Release, "m0", 9, Admission::Stale),
            (Some(&released), Action::Contain, "m0", 9, Admission::Stale),
            (Some(&contained), Action::Release, "m2", 10, Admission::Resume),
        ] {
            let said = admit(stored, &request(action, id, second), "me", now);
            assert_eq!(said, expected, "{action} {id} at {second}");
        }
    }

    #[test]
    fn a_lease_holds_others_off_until_it_lapses() {
        let now = request(Action::Contain, "x", 20).message.sent;
        let mut crashed = stored(Status::Containing, None);
        crashed.lease = Some(Lease {
            holder: "other".into(),
            until: now.plus_seconds(1),
        });
        let again = request(Action::Contain, "m1", 10);
        assert_eq!(admit(Some(&crashed), &again, "me", now), Admission::Held);
        assert_eq!(admit(Some(&crashed), &again, "other", now), Admission::Resume);
        assert_eq!(
            admit(Some(&crashed), &again, "me", now.plus_seconds(2)),
            Admission::Resume
        );
    }
}
