//! Network ACL entries of ours whose instance is gone: the next owner of its address would be cut off.
//!
//! Entries carry no tags. Ours are those that a record says were made; they are deleted by the step's own undo, which touches
//! nothing but entries of these numbers that still say exactly this.

use std::collections::BTreeMap;

use entity_lockdown::aws::{Failure, Member, Reason};
use entity_lockdown::journal::Stored;
use entity_lockdown::moment::Moment;
use entity_lockdown::record::{Record, RecordedStep};
use entity_lockdown::steps::Step;
use entity_lockdown::steps::instance::exists;
use entity_lockdown::steps::network_acl::{AclEntry, AclState, Numbers};
use serde_json::Value;

use super::open::{Open, instance, name};
use super::report::{EntryRow, Said, ToRelease};
use crate::standing::is_worked_on;

/// Where the instance of a containment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Terminated, about to be, or unknown to EC2, and nobody works on its record.
    Gone,
    /// What it needs stays, for this reason.
    Stays(String),
    /// It could not be asked for.
    Unknown(Failure),
}

/// One recorded change, with its record and where that one's instance stands.
struct Holder<'a> {
    record: &'a Record,
    step: &'a RecordedStep,
    standing: &'a Standing,
}

/// Deletes the entries of a region that only instances which are gone have needed, and says which records a release closes.
pub async fn clean(member: &Member, open: &Open, dry_run: bool) -> (Vec<EntryRow>, Vec<ToRelease>) {
    let mut containments = vec![];
    for stored in open.in_region(&member.region) {
        let standing = standing(member, stored, Moment::now()).await;
        containments.push((&stored.record, standing));
    }
    let mut rows = vec![];
    for (entry, holders) in by_change(&containments).into_values() {
        let row = |numbers, said| row(member, entry, &holders, numbers, said);
        rows.extend(match keep(&holders) {
            Some(said) => Some(row(Numbers::default(), said)),
            None => remove(member, &holders, dry_run)
                .await
                .map(|(numbers, said)| row(numbers, said)),
        });
    }
    let gone = containments.iter().filter(|(_, standing)| *standing == Standing::Gone);
    (rows, gone.map(|(record, _)| ToRelease::of(record)).collect())
}

async fn standing(member: &Member, stored: &Stored, now: Moment) -> Standing {
    let record = &stored.record;
    if is_worked_on(stored, now) {
        return Standing::Stays(format!("{} is being worked on", name(record)));
    }
    match exists(member, &record.entity).await {
        Ok(true) => Standing::Stays(format!("{} still exists: a release removes it", instance(record))),
        Ok(false) => Standing::Gone,
        Err(failure) => Standing::Unknown(failure),
    }
}

/// The entries that records wait to have undone, each with all containments that hold it: an address can have had two owners.
fn by_change<'a>(containments: &'a [(&'a Record, Standing)]) -> BTreeMap<String, (&'a AclEntry, Vec<Holder<'a>>)> {
    let mut changes = BTreeMap::new();
    for (record, standing) in containments {
        for step in record.steps.iter().filter(|step| step.waits_for_undo()) {
            if let Step::NetworkAcl(entry) = &step.step {
                let (_, holders) = changes.entry(step.step.key()).or_insert_with(|| (entry, vec![]));
                holders.push(Holder { record, step, standing });
            }
        }
    }
    changes
}

/// Why an entry stays, if one of the containments that hold it may still need it.
fn keep(holders: &[Holder<'_>]) -> Option<Said> {
    let said = |holder: &Holder<'_>| match holder.standing {
        Standing::Gone => None,
        Standing::Stays(why) => Some(Said::kept(why.clone())),
        Standing::Unknown(failure) => Some(Said::failed(failure)),
    };
    holders.iter().find_map(said)
}

/// Deletes what these containments have made of an entry; nothing is said where nothing of it is left.
async fn remove(member: &Member, holders: &[Holder<'_>], dry_run: bool) -> Option<(Numbers, Said)> {
    let none = Numbers::default;
    let ours = match left(member, holders).await? {
        Ok(ours) => ours,
        Err(said) => return Some((none(), said)),
    };
    if ours.is_empty() {
        // Not written down: the work was cut off between the call and the record, and others may have made the same.
        let unsure = holders.iter().any(|holder| holder.step.made.is_none());
        let why = "whether it was made is not recorded (the work was cut off): a release decides";
        return unsure.then(|| (none(), Said::kept(why)));
    }
    let gone: Vec<&str> = holders.iter().map(|holder| instance(holder.record)).collect();
    let why = format!("{} is gone", gone.join(", "));
    if dry_run {
        return Some((ours, Said::would_delete(why)));
    }
    for holder in holders.iter().filter(|holder| holder.step.made.is_some()) {
        let RecordedStep { step, before, made, .. } = holder.step;
        if let Err(failure) = step.undo(member, before, made.as_ref()).await {
            return Some((ours, Said::failed(&failure)));
        }
    }
    let said = match left(member, holders).await {
        None => Said::deleted(why),
        Some(Ok(left)) if left.is_empty() => Said::deleted(why),
        Some(Ok(left)) => Said::undone(format!(
            "AWS said that it was deleted, and still shows {left}: try again"
        )),
        Some(Err(said)) => said,
    };
    Some((ours, said))
}

/// What stands there now of what these containments have made; `None`: the network ACL is gone, and all of it with that.
async fn left(member: &Member, holders: &[Holder<'_>]) -> Option<Result<Numbers, Said>> {
    let first = holders.first()?;
    match first.step.step.read(member).await {
        Ok(now) => Some(ours(&now, holders)),
        Err(failure) if failure.reason == Reason::Absent => None,
        Err(failure) => Some(Err(Said::failed(&failure))),
    }
}

fn ours(now: &Value, holders: &[Holder<'_>]) -> Result<Numbers, Said> {
    let now = state(now)?;
    let mut all = Numbers::default();
    for holder in holders {
        let Some(made) = &holder.step.made else { continue };
        let ours = now.ours(&state(&holder.step.before)?, Some(&state(made)?));
        all.ingress.extend(ours.ingress);
        all.egress.extend(ours.egress);
    }
    for numbers in [&mut all.ingress, &mut all.egress] {
        numbers.sort_unstable();
        numbers.dedup();
    }
    Ok(all)
}

fn state(value: &Value) -> Result<AclState, Said> {
    let unreadable = |error| Said::undone(format!("what is recorded of it can't be read: {error}"));
    serde_json::from_value(value.clone()).map_err(unreadable)
}

fn row(member: &Member, entry: &AclEntry, holders: &[Holder<'_>], numbers: Numbers, said: Said) -> EntryRow {
    EntryRow {
        region: member.region.clone(),
        acl: entry.acl.clone(),
        verdict: entry.verdict,
        cidr: entry.cidr,
        numbers,
        containments: holders.iter().map(|holder| holder.record.containment.clone()).collect(),
        said,
    }
}

#[cfg(test)]
mod tests {
    use entity_lockdown::journal::Lease;
    use serde_json::json;

    use super::super::open::tests::stored;
    use super::*;

    type Change = (Value, Value, Option<Value>);

    fn state(numbers: &[i32]) -> Value {
        let direction = json!({"numbers": numbers, "in_force": true});
        json!({"ingress": direction, "egress": direction})
    }

    fn entry(cidr: &str, before: &[i32], made: Option<&[i32]>) -> Change {
        let arn = "arn:aws:ec2:us-east-1:222222222222:network-acl/acl-1";
        let step = json!({"change": "network-acl", "acl": "acl-1", "arn": arn, "verdict": "deny", "cidr": cidr});
        (step, state(before), made.map(state))
    }

    fn record(instance: char, steps: Vec<Change>) -> Stored {
        let id = instance.to_string().repeat(17);
        stored(&format!("arn:aws:ec2:us-east-1:222222222222:instance/i-{id}"), steps)
    }

    /// Of each entry by its key: how many hold it, why it stays, and which numbers are ours where these stand.
    fn judged(containments: &[(&Record, Standing)], now: &[i32]) -> Vec<(usize, Option<String>, String)> {
        let one = |(_, holders): (&AclEntry, Vec<Holder<'_>>)| {
            let ours = ours(&state(now), &holders).expect("states");
            (holders.len(), keep(&holders).map(|said| said.why), ours.to_string())
        };
        by_change(containments).into_values().map(one).collect()
    }

    #[test]
    fn an_entry_goes_when_all_that_hold_it_are_gone_and_stays_while_one_is_not() {
        let first = record(
            'a',
            vec![
                entry("10.0.0.5/32", &[], Some(&[3])),
                entry("10.0.0.6/32", &[], Some(&[4])),
            ],
        );
        let second = record('b', vec![entry("10.0.0.5/32", &[], Some(&[3]))]);
        let stays = || Standing::Stays("it lives".to_owned());
        let both = [(&first.record, Standing::Gone), (&second.record, Standing::Gone)];
        let mixed = [(&first.record, Standing::Gone), (&second.record, stays())];
        let rule = |n: i32| format!("rule {n} in, rule {n} out");
        assert_eq!(judged(&both, &[3, 4]), [(2, None, rule(3)), (1, None, rule(4))]);
        let kept = judged(&mixed, &[3, 4]);
        assert_eq!(kept, [(2, Some("it lives".to_owned()), rule(3)), (1, None, rule(4))]);
    }

    #[test]
    fn only_what_was_made_and_was_not_there_before_is_ours() {
        let stored = record('a', vec![entry("10.0.0.5/32", &[7], Some(&[3, 7]))]);
        let containments = [(&stored.record, Standing::Gone)];
        for (now, ours) in [
            (&[3, 7, 9][..], "rule 3 in, rule 3 out"),
            (&[7, 9][..], "rule none in, rule none out"),
        ] {
            assert_eq!(judged(&containments, now), [(1, None, ours.to_owned())]);
        }
        let unsure = record('a', vec![entry("10.0.0.5/32", &[], None)]);
        let ours = judged(&[(&unsure.record, Standing::Gone)], &[3]);
        assert_eq!(ours, [(1, None, "rule none in, rule none out".to_owned())]);
    }

    #[test]
    fn what_a_release_has_undone_or_left_to_others_is_no_longer_ours() {
        use entity_lockdown::record::StepState;
        for (state, counts) in [(StepState::Undone, 0), (StepState::Kept, 0), (StepState::Left, 1)] {
            let mut stored = record('a', vec![entry("10.0.0.5/32", &[], Some(&[3]))]);
            stored.record.steps[0].state = state;
            assert_eq!(
                judged(&[(&stored.record, Standing::Gone)], &[3]).len(),
                counts,
                "{state:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_record_that_is_worked_on_is_left_to_its_worker() {
        let config = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .build();
        let account = super::super::open::tests::account();
        let member = Member::new(
            account.id,
            account.partition,
            super::super::open::tests::region(),
            config,
        );
        let mut stored = record('a', vec![]);
        let now = Moment::now();
        stored.lease = Some(Lease {
            holder: "f".to_owned(),
            until: now.plus_seconds(10),
        });
        let standing = standing(&member, &stored, now).await;
        assert!(matches!(standing, Standing::Stays(why) if why.contains("worked on")));
    }
}
