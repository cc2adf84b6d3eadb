//! What the journal holds open in the account that is cleaned, and what that needs.

use std::collections::{BTreeMap, BTreeSet};

use entity_lockdown::arn::Region;
use entity_lockdown::journal::{JournalError, Stored};
use entity_lockdown::record::Record;
use entity_lockdown::steps::Step;

use super::Account;

/// The open containments of the account's instances: no other kind of entity leaves something in a network.
#[derive(Debug, Default)]
pub struct Open {
    stored: Vec<Stored>,
    /// Items that can't be read, and that may be of this account.
    pub unreadable: Vec<JournalError>,
}

impl Open {
    /// Of all that the journal holds open, what concerns this account.
    pub fn of(found: Vec<Result<Stored, JournalError>>, account: &Account) -> Self {
        let mut open = Self::default();
        for one in found {
            match one {
                Ok(stored) if is_instance_of(&stored.record, account) => open.stored.push(stored),
                Ok(_) => {}
                Err(error) => open.unreadable.push(error),
            }
        }
        let place = format!("{}/{}/", account.partition, account.id);
        open.unreadable.retain(|error| may_be_at(error, &place));
        open
    }

    /// Those of a region.
    pub fn in_region<'a>(&'a self, region: &'a Region) -> impl Iterator<Item = &'a Stored> {
        let here = move |stored: &&Stored| stored.record.entity.region.as_ref() == Some(region);
        self.stored.iter().filter(here)
    }

    /// How many there are in other regions than these.
    pub fn elsewhere(&self, regions: &[Region]) -> BTreeMap<&Region, usize> {
        let mut elsewhere = BTreeMap::new();
        let places = self
            .stored
            .iter()
            .filter_map(|stored| stored.record.entity.region.as_ref());
        for region in places.filter(|region| !regions.contains(region)) {
            *elsewhere.entry(region).or_default() += 1;
        }
        elsewhere
    }

    /// Why our groups of a VPC may still be needed, if they may.
    pub fn need(&self, region: &Region, vpc: &str) -> Option<String> {
        let needs = |stored: &&Stored| {
            let vpcs = vpcs(&stored.record);
            // One whose steps are not recorded yet may be about to use any.
            vpcs.is_empty() || vpcs.contains(vpc)
        };
        if let Some(stored) = self.in_region(region).find(needs) {
            return Some(format!(
                "{} is open and may need it: release that first",
                name(&stored.record)
            ));
        }
        let place = format!("/{region}/");
        let unreadable = self.unreadable.iter().find(|error| may_be_at(error, &place))?;
        Some(format!("a containment that can't be read may need it: {unreadable}"))
    }
}

/// A containment for people.
pub fn name(record: &Record) -> String {
    format!("the containment {} of {}", record.containment, instance(record))
}

/// The id of a record's instance.
pub fn instance(record: &Record) -> &str {
    record.entity.resource.trim_start_matches("instance/")
}

fn is_instance_of(record: &Record, account: &Account) -> bool {
    let entity = &record.entity;
    entity.service == "ec2" && entity.account == account.id && entity.partition == account.partition
}

/// Whether an item that can't be read may be of this place; a key that says nothing may be of any.
fn may_be_at(error: &JournalError, place: &str) -> bool {
    match error {
        JournalError::Unreadable { key, .. } => key.split('/').count() < 5 || key.contains(place),
        _ => true,
    }
}

/// The VPCs in which a containment uses our groups.
fn vpcs(record: &Record) -> BTreeSet<&str> {
    let steps = record.steps.iter().map(|recorded| &recorded.step);
    steps
        .filter_map(|step| match step {
            Step::SecurityGroup(group) => Some(group.vpc.as_str()),
            Step::Untrack(step) => Some(step.interface.vpc.as_str()),
            Step::Isolate(step) => Some(step.interface.vpc.as_str()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
pub mod tests {
    use entity_lockdown::moment::Moment;
    use entity_lockdown::plan::Planned;
    use entity_lockdown::record::{RecordedStep, StepState};
    use entity_lockdown::request::{Action, Claims, Follows, Message, Request};
    use serde_json::{Value, json};

    use super::*;

    pub fn account() -> Account {
        Account {
            id: "222222222222".parse().expect("an account"),
            partition: "aws".parse().expect("a partition"),
        }
    }

    pub fn region() -> Region {
        "us-east-1".parse().expect("a region")
    }

    fn at() -> Moment {
        "2026-11-22T17:00:00Z".parse().expect("a time")
    }

    /// An open record of this instance with these steps: the change, the state before, what it made.
    pub fn stored(arn: &str, steps: Vec<(Value, Value, Option<Value>)>) -> Stored {
        let request = Request {
            action: Action::Contain,
            entity: arn.parse().expect("an entity"),
            message: Message {
                id: "m1".to_owned(),
                sent: at(),
                topic: "arn:aws:sns:us-east-1:111111111111:requests".to_owned(),
            },
            claims: Claims::default(),
            force: false,
            reactivate_keys: false,
            resumed: false,
            follows: Follows::Delivery,
        };
        let mut record = Record::begin(&request, at());
        for (step, before, made) in steps {
            let step: Step = serde_json::from_value(step).expect("a step");
            let mut step = RecordedStep::planned(Planned::new(0, step, None), before, at());
            step.becomes(StepState::Applied, None, at());
            step.made = made;
            record.steps.push(step);
        }
        Stored {
            record,
            version: 1,
            lease: None,
            asked: None,
        }
    }

    pub fn group(vpc: &str) -> (Value, Value, Option<Value>) {
        let step = json!({"change": "security-group", "vpc": vpc, "purpose": "isolation", "place": "p"});
        (step, json!({"id": null, "ingress": [], "egress": []}), None)
    }

    fn arn(account: &str, region: &str) -> String {
        format!("arn:aws:ec2:{region}:{account}:instance/i-0123456789abcdef0")
    }

    pub fn unreadable(key: &str) -> Result<Stored, JournalError> {
        Err(JournalError::Unreadable {
            key: key.to_owned(),
            problem: "no JSON".to_owned(),
        })
    }

    #[test]
    fn a_group_is_needed_by_an_open_containment_of_its_vpc_and_by_one_that_has_no_steps_yet() {
        let of = |steps| Open::of(vec![Ok(stored(&arn("222222222222", "us-east-1"), steps))], &account());
        let need = |open: &Open, vpc| open.need(&region(), vpc);
        let open = of(vec![group("vpc-1")]);
        assert!(need(&open, "vpc-1").is_some_and(|why| why.contains("i-0123456789abcdef0")));
        assert_eq!(need(&open, "vpc-2"), None);
        assert_eq!(open.need(&"eu-west-1".parse().expect("a region"), "vpc-1"), None);
        assert!(need(&of(vec![]), "vpc-2").is_some());
        assert_eq!(need(&Open::default(), "vpc-1"), None);
    }

    #[test]
    fn other_accounts_partitions_and_kinds_of_entity_are_nothing_to_this_account() {
        let found = vec![
            Ok(stored(&arn("333333333333", "us-east-1"), vec![])),
            Ok(stored(
                "arn:aws-cn:ec2:cn-north-1:222222222222:instance/i-0123456789abcdef0",
                vec![],
            )),
            Ok(stored("arn:aws:lambda:us-east-1:222222222222:function:f", vec![])),
            Ok(stored(&arn("222222222222", "eu-west-1"), vec![])),
        ];
        let open = Open::of(found, &account());
        assert_eq!(open.in_region(&region()).count(), 0);
        let elsewhere = open.elsewhere(&[region()]);
        let elsewhere: Vec<_> = elsewhere.iter().map(|(region, n)| (region.as_str(), *n)).collect();
        assert_eq!(elsewhere, [("eu-west-1", 1)]);
    }

    #[test]
    fn what_can_not_be_read_may_need_everything_unless_it_is_clearly_somebody_elses() {
        for (key, needed) in [
            ("record/aws/222222222222/us-east-1/ec2-instance/i-1", true),
            ("record/aws/222222222222/eu-west-1/ec2-instance/i-1", false),
            ("record/aws/333333333333/us-east-1/ec2-instance/i-1", false),
            ("?", true),
        ] {
            let open = Open::of(vec![unreadable(key)], &account());
            assert_eq!(open.need(&region(), "vpc-1").is_some(), needed, "{key}");
        }
    }
}
