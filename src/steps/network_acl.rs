//! One range of addresses denied (or let through) in both directions by one network ACL.
//!
//! An entry names the source of what enters a subnet and the destination of what leaves it, never the other end. An interface's own
//! address is therefore filtered where its packets enter and leave *other* subnets: see docs/adr/0009. Traffic within a subnet is
//! not filtered at all.
//!
//! Entries carry no tags, so the record owns them: it keeps their numbers, and a release deletes those and no others.
//!
//! Sources: Amazon VPC User Guide, "Network ACL rules"; Amazon VPC Transit Gateways, "Network ACLs for transit gateways".

use std::collections::BTreeSet;
use std::fmt;

use aws_sdk_ec2::types::{NetworkAcl, NetworkAclEntry, RuleAction};
use futures_util::future::{OptionFuture, join, join_all};
use serde::{Deserialize, Serialize};

use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};
use crate::cidr::Cidr;
use crate::moment::Moment;

/// All protocols, in EC2's spelling.
const ALL: &str = "-1";

/// The numbers that an entry can have; the one after the last is the fixed deny of everything.
const NUMBERS: std::ops::RangeInclusive<i32> = 1..=32_766;

/// How often another number is tried where others take the free ones at the same time.
const TRIES: usize = 8;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing passes.
    Deny,
    /// Everything passes.
    Allow,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// One entry as EC2 describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Entries are tried in the order of their numbers; the first that matches decides.
    pub number: i32,
    /// Whether it is for what leaves the subnet.
    pub egress: bool,
    /// What it says.
    pub verdict: Verdict,
    /// Whether it is for all protocols and ports.
    pub all_protocols: bool,
    /// For which sources (in) or destinations (out).
    pub cidr: Cidr,
}

/// One network ACL as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// Its id (`acl-...`).
    pub id: String,
    /// The subnets that it serves, sorted.
    pub subnets: Vec<String>,
    /// Its entries by their numbers, without the fixed last ones.
    pub entries: Vec<Entry>,
}

impl Acl {
    /// From what EC2 says.
    pub fn of(described: &NetworkAcl) -> Self {
        let subnets = described.associations().iter().filter_map(|with| with.subnet_id());
        let mut subnets: Vec<String> = subnets.map(str::to_owned).collect();
        subnets.sort_unstable();
        let mut entries: Vec<Entry> = described.entries().iter().filter_map(Entry::of).collect();
        entries.sort_unstable_by_key(|entry| (entry.egress, entry.number));
        Self {
            id: described.network_acl_id().unwrap_or_default().to_owned(),
            subnets,
            entries,
        }
    }

    /// Whether everything from (in) or to (out) a range passes, as far as the entries say it in one.
    pub fn lets_through(&self, egress: bool, cidr: &Cidr) -> bool {
        let mut concerned = self.direction(egress).filter(|entry| entry.cidr.overlaps(cidr));
        concerned
            .next()
            .is_some_and(|first| first.verdict == Verdict::Allow && first.all_protocols && first.cidr.contains(cidr))
    }

    fn direction(&self, egress: bool) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.egress == egress)
    }
}

impl Entry {
    fn of(described: &NetworkAclEntry) -> Option<Self> {
        let cidr = described.cidr_block().or(described.ipv6_cidr_block())?;
        let entry = Self {
            number: described.rule_number()?,
            egress: described.egress()?,
            verdict: match described.rule_action()? {
                RuleAction::Allow => Verdict::Allow,
                _ => Verdict::Deny,
            },
            all_protocols: described.protocol() == Some(ALL),
            cidr: cidr.parse().ok()?,
        };
        NUMBERS.contains(&entry.number).then_some(entry)
    }
}

/// One range in one network ACL, both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// The ACL's id.
    pub acl: String,
    /// Its ARN.
    pub arn: Arn,
    /// What is said.
    pub verdict: Verdict,
    /// Of which range.
    pub cidr: Cidr,
    /// The number that the plan has found free in both directions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i32>,
}

/// What an ACL says of the range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclState {
    /// Of what enters.
    pub ingress: Direction,
    /// Of what leaves.
    pub egress: Direction,
}

/// What one direction says of the range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// The numbers of the entries that say exactly this.
    pub numbers: Vec<i32>,
    /// Whether one of them comes before all that say otherwise.
    pub in_force: bool,
}

/// The numbers of some entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Numbers {
    /// Of those for what enters.
    pub ingress: Vec<i32>,
    /// Of those for what leaves.
    pub egress: Vec<i32>,
}

impl Numbers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ingress.is_empty() && self.egress.is_empty()
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |numbers: &[i32]| {
            let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            if words.is_empty() {
                "none".to_owned()
            } else {
                words.join(", ")
            }
        };
        write!(f, "rule {} in, rule {} out", words(&self.ingress), words(&self.egress))
    }
}

impl AclState {
    /// The entries of this state that our change has made, and that therefore go when it is undone: they say exactly this, they
    /// were not there before, and the record knows their numbers. Without the record's word (`made` is `None`: a crash came before
    /// it) those count that say exactly this and were not there before.
    pub fn ours(&self, before: &Self, made: Option<&Self>) -> Numbers {
        let of = |now: &Direction, before: &Direction, made: Option<&Direction>| {
            let is_ours = |number: &i32| {
                !before.numbers.contains(number) && made.is_none_or(|made| made.numbers.contains(number))
            };
            now.numbers.iter().copied().filter(is_ours).collect()
        };
        Numbers {
            ingress: of(&self.ingress, &before.ingress, made.map(|made| &made.ingress)),
            egress: of(&self.egress, &before.egress, made.map(|made| &made.egress)),
        }
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            ingress: self.ingress.numbers.clone(),
            egress: self.egress.numbers.clone(),
        }
    }
}

impl AclEntry {
    /// What an ACL says of the range now.
    pub fn state_in(&self, acl: &Acl) -> AclState {
        let direction = |egress| {
            let limit = self.limit(acl, egress);
            let numbers: Vec<i32> = acl
                .direction(egress)
                .filter(|entry| self.is_exactly(entry))
                .map(|entry| entry.number)
                .collect();
            let in_force = numbers.iter().any(|number| *number < limit);
            Direction { numbers, in_force }
        };
        AclState {
            ingress: direction(false),
            egress: direction(true),
        }
    }

    /// The numbers that are free and come before all that say otherwise, in these directions, lowest first.
    pub fn free<'a>(&self, acl: &'a Acl, directions: &'a [bool]) -> impl Iterator<Item = i32> + 'a {
        let limit = directions.iter().map(|egress| self.limit(acl, *egress)).min();
        let used: BTreeSet<i32> = acl
            .entries
            .iter()
            .filter(|entry| directions.contains(&entry.egress))
            .map(|entry| entry.number)
            .collect();
        NUMBERS
            .take_while(move |number| Some(*number) < limit)
            .filter(move |number| !used.contains(number))
    }

    /// The first number that would come too late: that of the first entry which says otherwise of any address in the range.
    fn limit(&self, acl: &Acl, egress: bool) -> i32 {
        acl.direction(egress)
            .find(|entry| entry.verdict != self.verdict && entry.cidr.overlaps(&self.cidr))
            .map_or(NUMBERS.end() + 1, |entry| entry.number)
    }

    fn is_exactly(&self, entry: &Entry) -> bool {
        entry.verdict == self.verdict && entry.all_protocols && entry.cidr == self.cidr
    }

    async fn describe_acl(&self, member: &Member) -> Result<Acl, Failure> {
        let answer = member
            .ec2
            .describe_network_acls()
            .network_acl_ids(&self.acl)
            .send()
            .await;
        let answer = answer.map_err(|error| member.failure("ec2:DescribeNetworkAcls", &self.acl, &error))?;
        let found = answer.network_acls.unwrap_or_default();
        found.first().map(Acl::of).ok_or_else(|| Failure {
            reason: Reason::Absent,
            ..Failure::own(
                "ec2:DescribeNetworkAcls",
                &self.acl,
                member.account.as_str(),
                "InvalidNetworkAclID.NotFound",
                "it is gone",
            )
        })
    }

    async fn create(&self, member: &Member, egress: bool, number: i32) -> Result<Receipt, Failure> {
        let action = match self.verdict {
            Verdict::Deny => RuleAction::Deny,
            Verdict::Allow => RuleAction::Allow,
        };
        let call = member
            .ec2
            .create_network_acl_entry()
            .network_acl_id(&self.acl)
            .egress(egress)
            .rule_number(number)
            .rule_action(action)
            .protocol(ALL);
        let call = if self.cidr.is_v6() {
            call.ipv6_cidr_block(self.cidr.to_string())
        } else {
            call.cidr_block(self.cidr.to_string())
        };
        let answer = call.send().await;
        let answer = answer.map_err(|error| member.failure("ec2:CreateNetworkAclEntry", &self.acl, &error))?;
        Ok(Receipt::of(&answer))
    }

    async fn delete(&self, member: &Member, egress: bool, number: i32) -> Result<Receipt, Failure> {
        let call = member.ec2.delete_network_acl_entry().network_acl_id(&self.acl);
        match call.egress(egress).rule_number(number).send().await {
            Ok(answer) => Ok(Receipt::of(&answer)),
            Err(error) => match member.failure("ec2:DeleteNetworkAclEntry", &self.acl, &error) {
                // Somebody was faster.
                gone if gone.reason == Reason::Absent => Ok(Receipt::default()),
                failure => Err(failure),
            },
        }
    }

    /// Makes the entries of these directions at once, with these numbers. `None`: a number was taken meanwhile.
    async fn create_both(
        &self,
        member: &Member,
        ingress: Option<i32>,
        egress: Option<i32>,
    ) -> Result<Option<Receipt>, Failure> {
        let make =
            |egress, number: Option<i32>| OptionFuture::from(number.map(|number| self.create(member, egress, number)));
        let (into, out) = join(make(false, ingress), make(true, egress)).await;
        let mut receipt = Some(Receipt::default());
        for made in [into, out].into_iter().flatten() {
            match made {
                Ok(one) => receipt = receipt.map(|_| one),
                Err(failure) if failure.reason == Reason::Duplicate => receipt = None,
                Err(failure) => return Err(failure),
            }
        }
        Ok(receipt)
    }

    fn no_number(&self, member: &Member, code: &str, message: &str, reason: Reason) -> Failure {
        Failure {
            reason,
            ..Failure::own(
                "ec2:CreateNetworkAclEntry",
                &self.acl,
                member.account.as_str(),
                code,
                message,
            )
        }
    }
}

impl Change for AclEntry {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "ec2:CreateNetworkAclEntry",
            used_for: "cut an interface's addresses off at the edges of its VPC's subnets",
        },
        Permission {
            action: "ec2:DeleteNetworkAclEntry",
            used_for: "release an interface's addresses",
        },
        Permission {
            action: "ec2:DescribeNetworkAcls",
            used_for: "read the entries of a network ACL back",
        },
    ];
    const REMEMBERS: bool = true;
    type State = AclState;

    fn resource(&self) -> String {
        format!("{}/{}/{}", self.acl, self.verdict.word(), self.cidr)
    }

    fn target(&self) -> Option<Arn> {
        Some(self.arn.clone())
    }

    fn describe(&self) -> String {
        format!(
            "{} everything from and to {} in the network ACL {}",
            self.verdict.word(),
            self.cidr,
            self.acl
        )
    }

    fn describe_undo(&self, _before: &AclState) -> String {
        format!("delete our entries for {} from the network ACL {}", self.cidr, self.acl)
    }

    fn holds(&self, now: &AclState) -> bool {
        now.ingress.in_force && now.egress.in_force
    }

    /// Only what the record knows to be ours is ever deleted, so that nothing of others stands in the way.
    fn is_ours(&self, _now: &AclState) -> bool {
        true
    }

    fn is_undone(&self, now: &AclState, before: &AclState) -> bool {
        let left = |now: &Direction, before: &Direction| now.numbers.iter().all(|n| before.numbers.contains(n));
        left(&now.ingress, &before.ingress) && left(&now.egress, &before.egress)
    }

    fn describe_made(&self, made: &AclState) -> Option<String> {
        Some(made.numbers().to_string())
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        match self.describe_acl(member).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.reason == Reason::Absent => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn read(&self, member: &Member) -> Result<AclState, Failure> {
        Ok(self.state_in(&self.describe_acl(member).await?))
    }

    async fn apply(&self, member: &Member, before: &AclState) -> Result<Receipt, Failure> {
        // The number of the plan first, which saves a read; whoever has taken it since makes one necessary.
        if let Some(number) = self.number {
            let missing = |direction: &Direction| (!direction.in_force).then_some(number);
            let (ingress, egress) = (missing(&before.ingress), missing(&before.egress));
            if let Some(receipt) = self.create_both(member, ingress, egress).await? {
                return Ok(receipt);
            }
        }
        for _ in 0..TRIES {
            let acl = self.describe_acl(member).await?;
            let state = self.state_in(&acl);
            // Others may look for a number at this moment: not all should take the same one.
            let dice = usize::try_from(Moment::now().millis() % 7).unwrap_or_default();
            let pick = |egress: bool, there: bool| match there {
                true => Ok(None),
                false => {
                    let free: Vec<i32> = self.free(&acl, &[egress]).take(8).collect();
                    let number = free.get(dice.min(free.len().saturating_sub(1))).copied();
                    number.map(Some).ok_or_else(|| {
                        let message = format!(
                            "no rule number is free before the entries that {} it: renumber those",
                            match self.verdict {
                                Verdict::Deny => "allow",
                                Verdict::Allow => "deny",
                            }
                        );
                        self.no_number(member, "NoRuleNumber", &message, Reason::Final)
                    })
                }
            };
            let (ingress, egress) = (pick(false, state.ingress.in_force)?, pick(true, state.egress.in_force)?);
            if let Some(receipt) = self.create_both(member, ingress, egress).await? {
                return Ok(receipt);
            }
        }
        let message = "others took every number that was tried";
        Err(self.no_number(member, "RuleNumbersTaken", message, Reason::Passing))
    }

    async fn undo(&self, member: &Member, before: &AclState, made: Option<&AclState>) -> Result<Receipt, Failure> {
        let now = self.read(member).await?;
        let Numbers { ingress, egress } = now.ours(before, made);
        let into = ingress.into_iter().map(|number| (false, number));
        let out = egress.into_iter().map(|number| (true, number));
        let deleted = join_all(
            into.chain(out)
                .map(|(egress, number)| self.delete(member, egress, number)),
        )
        .await;
        let mut receipt = Receipt::default();
        for one in deleted {
            receipt = one?;
        }
        let left = self.read(member).await?;
        if !self.is_undone(&left, before) {
            let foreign = self.describe_made(&left).unwrap_or_default();
            receipt.note = Some(format!(
                "entries that say the same and that somebody else has made since are left: {foreign}"
            ));
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i32, egress: bool, verdict: Verdict, cidr: &str) -> Entry {
        Entry {
            number,
            egress,
            verdict,
            all_protocols: true,
            cidr: cidr.parse().expect("a range"),
        }
    }

    fn both(number: i32, verdict: Verdict, cidr: &str) -> [Entry; 2] {
        [false, true].map(|egress| entry(number, egress, verdict, cidr))
    }

    fn acl(entries: impl IntoIterator<Item = Entry>) -> Acl {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        entries.sort_unstable_by_key(|entry| (entry.egress, entry.number));
        Acl {
            id: "acl-1".into(),
            subnets: vec!["subnet-1".into()],
            entries,
        }
    }

    fn deny(cidr: &str) -> AclEntry {
        AclEntry {
            acl: "acl-1".into(),
            arn: "arn:aws:ec2:us-east-1:222222222222:network-acl/acl-1"
                .parse()
                .expect("an ARN"),
            verdict: Verdict::Deny,
            cidr: cidr.parse().expect("a range"),
            number: None,
        }
    }

    #[test]
    fn a_deny_holds_only_in_both_directions_and_before_every_allow_of_its_address() {
        let step = deny("10.0.0.5/32");
        let open = both(100, Verdict::Allow, "0.0.0.0/0");
        let held = |more: Vec<Entry>| step.holds(&step.state_in(&acl(open.into_iter().chain(more))));
        assert!(held(both(99, Verdict::Deny, "10.0.0.5/32").to_vec()));
        assert!(!held(both(101, Verdict::Deny, "10.0.0.5/32").to_vec()));
        assert!(!held(vec![entry(1, false, Verdict::Deny, "10.0.0.5/32")]));
        assert!(!held(both(1, Verdict::Deny, "10.0.0.4/32").to_vec()));
        let mut ssh_only = both(1, Verdict::Deny, "10.0.0.5/32");
        ssh_only.iter_mut().for_each(|entry| entry.all_protocols = false);
        assert!(!held(ssh_only.to_vec()));
        let allow_of_another = both(1, Verdict::Allow, "10.9.0.0/16");
        let allow_of_it = both(1, Verdict::Allow, "10.0.0.0/16");
        let second = both(2, Verdict::Deny, "10.0.0.5/32");
        assert!(held([allow_of_another, second].concat()));
        assert!(!held([allow_of_it, second].concat()));
    }

    #[test]
    fn the_lowest_free_number_before_the_first_allow_is_taken() {
        let step = deny("10.0.0.5/32");
        let used = [
            both(1, Verdict::Deny, "192.0.2.0/24").to_vec(),
            vec![entry(2, true, Verdict::Deny, "192.0.2.0/24")],
            both(5, Verdict::Allow, "0.0.0.0/0").to_vec(),
        ];
        let acl = acl(used.concat());
        assert_eq!(step.free(&acl, &[false, true]).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(step.free(&acl, &[false]).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn without_room_before_the_first_allow_no_number_is_free() {
        let step = deny("10.0.0.5/32");
        let acl = acl(both(1, Verdict::Allow, "0.0.0.0/0"));
        assert_eq!(step.free(&acl, &[false, true]).next(), None);
        assert_eq!(deny("2001:db8::5/128").free(&acl, &[false, true]).next(), Some(2));
    }

    #[test]
    fn an_undo_leaves_what_was_there_before() {
        let step = deny("10.0.0.5/32");
        let state = |numbers: &[i32]| AclState {
            ingress: Direction {
                numbers: numbers.to_vec(),
                in_force: true,
            },
            egress: Direction {
                numbers: numbers.to_vec(),
                in_force: true,
            },
        };
        assert!(step.is_undone(&state(&[7]), &state(&[7])));
        assert!(step.is_undone(&state(&[]), &state(&[7])));
        assert!(!step.is_undone(&state(&[1, 7]), &state(&[7])));
    }

    #[test]
    fn ours_are_the_entries_that_the_record_knows_and_that_were_not_there_before() {
        let state = |ingress: &[i32], egress: &[i32]| {
            let direction = |numbers: &[i32]| Direction {
                numbers: numbers.to_vec(),
                in_force: true,
            };
            AclState {
                ingress: direction(ingress),
                egress: direction(egress),
            }
        };
        let now = state(&[3, 7, 9], &[4, 7]);
        let (before, made) = (state(&[7], &[7]), state(&[3, 7], &[3, 7]));
        let ours = now.ours(&before, Some(&made));
        assert_eq!(ours.to_string(), "rule 3 in, rule none out");
        assert_eq!(now.ours(&before, None).to_string(), "rule 3, 9 in, rule 4 out");
        assert!(before.ours(&before, None).is_empty() && !ours.is_empty());
    }

    #[test]
    fn what_passes_is_said_by_the_first_entry_that_concerns_the_range() {
        let team = "192.0.2.0/24".parse().expect("a range");
        let open = both(100, Verdict::Allow, "0.0.0.0/0").to_vec();
        assert!(acl(open.clone()).lets_through(false, &team));
        assert!(
            !acl([open.clone(), both(50, Verdict::Deny, "192.0.2.7/32").to_vec()].concat()).lets_through(false, &team)
        );
        assert!(!acl([]).lets_through(true, &team));
    }

    #[test]
    fn the_fixed_last_entries_are_no_entries() {
        let fixed = NetworkAclEntry::builder()
            .rule_number(32_767)
            .egress(false)
            .protocol("-1")
            .rule_action(RuleAction::Deny)
            .cidr_block("0.0.0.0/0")
            .build();
        assert_eq!(Acl::of(&NetworkAcl::builder().entries(fixed).build()).entries, []);
    }
}
