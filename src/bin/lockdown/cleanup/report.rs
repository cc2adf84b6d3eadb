//! What a cleanup says in the end: what was deleted, what stays and why, what was not looked at.

use comfy_table::{Cell, Color};
use entity_lockdown::arn::{AccountId, Arn, Region};
use entity_lockdown::aws::Failure;
use entity_lockdown::cidr::Cidr;
use entity_lockdown::journal::JournalError;
use entity_lockdown::notice::report::release_command;
use entity_lockdown::record::{ContainmentId, Record};
use entity_lockdown::steps::network_acl::{Numbers, Verdict};
use entity_lockdown::steps::security_group::FoundGroup;
use serde::Serialize;

use super::open::Open;
use crate::aws::explain;
use crate::screen::{clean, table};
use crate::trouble::{Exit, Trouble};

/// Below this many columns a table would be more line ends than text.
const NARROW: u16 = 100;

/// What became of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    WouldDelete,
    Deleted,
    Kept,
    Failed,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::WouldDelete => "would delete",
            Self::Deleted => "deleted",
            Self::Kept => "kept",
            Self::Failed => "FAILED",
        }
    }

    fn color(self) -> Color {
        match self {
            Self::WouldDelete | Self::Kept => Color::Yellow,
            Self::Deleted => Color::Green,
            Self::Failed => Color::Red,
        }
    }
}

/// What became of one thing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    result: Outcome,
    /// For people.
    pub why: String,
    /// The exit code that this would be alone.
    #[serde(skip)]
    exit: Exit,
}

impl Said {
    fn new(result: Outcome, why: impl Into<String>, exit: Exit) -> Self {
        let why = why.into();
        Self { result, why, exit }
    }

    /// It would be deleted.
    pub fn would_delete(why: impl Into<String>) -> Self {
        Self::new(Outcome::WouldDelete, why, Exit::Done)
    }

    /// It was deleted.
    pub fn deleted(why: impl Into<String>) -> Self {
        Self::new(Outcome::Deleted, why, Exit::Done)
    }

    /// It stays, rightly.
    pub fn kept(why: impl Into<String>) -> Self {
        Self::new(Outcome::Kept, why, Exit::Done)
    }

    /// A call failed.
    pub fn failed(failure: &Failure) -> Self {
        Self::trouble(explain(failure))
    }

    /// Something kept it from being looked at.
    fn trouble(trouble: Trouble) -> Self {
        Self::new(Outcome::Failed, trouble.text, trouble.exit)
    }

    /// It could not be done, without a call that failed.
    pub fn undone(why: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, why, Exit::Failed)
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.result == Outcome::Deleted
    }
}

/// A security group of ours; without an id: those of a region, which could not be listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRow {
    region: Region,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc: Option<String>,
    used_by: Vec<String>,
    /// What became of it.
    #[serde(flatten)]
    pub said: Said,
}

impl GroupRow {
    /// A group with all that uses it.
    pub fn of(region: Region, group: FoundGroup, used_by: Vec<String>, said: Said) -> Self {
        Self {
            region,
            id: Some(group.id),
            name: Some(group.name),
            vpc: Some(group.vpc),
            used_by,
            said,
        }
    }

    /// The groups of a region of which nothing is known.
    pub fn unknown(region: Region, said: Said) -> Self {
        Self {
            region,
            id: None,
            name: None,
            vpc: None,
            used_by: vec![],
            said,
        }
    }
}

/// A range in a network ACL, both directions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryRow {
    /// The region.
    pub region: Region,
    /// The network ACL.
    pub acl: String,
    /// What the entries say.
    pub verdict: Verdict,
    /// Of which range.
    pub cidr: Cidr,
    /// The numbers of those that were deleted or would be.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// The containments that hold them.
    pub containments: Vec<ContainmentId>,
    /// What became of them.
    #[serde(flatten)]
    pub said: Said,
}

/// A record that is open although its instance is gone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToRelease {
    entity: Arn,
    containment_id: ContainmentId,
    release_command: String,
}

impl ToRelease {
    /// How a record is closed.
    pub fn of(record: &Record) -> Self {
        Self {
            entity: record.entity.clone(),
            containment_id: record.containment.clone(),
            release_command: release_command(record),
        }
    }
}

/// All of it, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    account_id: AccountId,
    dry_run: bool,
    /// Our security groups.
    pub groups: Vec<GroupRow>,
    /// Our network ACL entries.
    pub entries: Vec<EntryRow>,
    /// What a release closes.
    pub to_release: Vec<ToRelease>,
    not_looked_at: Vec<String>,
    #[serde(skip)]
    unreadable: Vec<JournalError>,
    #[serde(skip)]
    regions: Vec<Region>,
}

/// A line of the table.
struct Line<'a> {
    region: &'a Region,
    what: String,
    place: &'a str,
    said: &'a Said,
}

impl Report {
    /// An empty one, which says already what will not be looked at.
    pub fn new(dry_run: bool, account_id: AccountId, regions: &[Region], open: Option<&Open>) -> Self {
        let not_looked_at = match open {
            None => vec![
                "open containments: one that is under way may still need a group that no interface uses; --table names the journal"
                    .to_owned(),
                "network ACL entries: they carry no tags, and only the journal knows ours; --table names it, and where it is in \
                 another account, --journal-profile the way to it"
                    .to_owned(),
            ],
            Some(open) => {
                let elsewhere = open.elsewhere(regions).into_iter();
                elsewhere
                    .map(|(region, n)| format!("{region}, where the journal has open containments of this account: {n}"))
                    .collect()
            }
        };
        Self {
            account_id,
            dry_run,
            groups: vec![],
            entries: vec![],
            to_release: vec![],
            not_looked_at,
            unreadable: open.map_or_else(Vec::new, |open| open.unreadable.clone()),
            regions: regions.to_vec(),
        }
    }

    /// Notes that nothing of a region was looked at.
    pub fn not_cleaned(&mut self, region: &Region, trouble: Trouble) {
        self.groups
            .push(GroupRow::unknown(region.clone(), Said::trouble(trouble)));
    }

    /// The journal's items that can't be read.
    pub fn unreadable(&self) -> &[JournalError] {
        &self.unreadable
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let groups = self.groups.iter().map(|row| Line {
            region: &row.region,
            what: match (&row.name, &row.id) {
                (Some(name), Some(id)) => format!("group {name} ({id})"),
                _ => "security groups".to_owned(),
            },
            place: row.vpc.as_deref().unwrap_or("-"),
            said: &row.said,
        });
        let entries = self.entries.iter().map(|row| {
            let verdict = match row.verdict {
                Verdict::Deny => "deny",
                Verdict::Allow => "allow",
            };
            let what = match row.numbers.is_empty() {
                true => format!("{verdict} {}", row.cidr),
                false => format!("{verdict} {}: {}", row.cidr, row.numbers),
            };
            Line {
                region: &row.region,
                what,
                place: &row.acl,
                said: &row.said,
            }
        });
        groups.chain(entries)
    }

    fn said(&self) -> impl Iterator<Item = &Said> {
        let entries = self.entries.iter().map(|row| &row.said);
        self.groups.iter().map(|row| &row.said).chain(entries)
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.said().filter(|said| said.result == outcome).count()
    }

    /// 0 where nothing failed; 5 where something else went well; else what all failures have in common.
    pub fn exit(&self) -> Exit {
        let failures: Vec<Exit> = self
            .said()
            .map(|said| said.exit)
            .filter(|exit| *exit != Exit::Done)
            .collect();
        match failures.first() {
            None if self.unreadable.is_empty() => Exit::Done,
            None => Exit::Partial,
            Some(_) if self.said().count() > failures.len() => Exit::Partial,
            Some(first) if failures.iter().all(|exit| exit == first) => *first,
            Some(_) => Exit::Failed,
        }
    }

    /// A table where there is room for it, else one paragraph each; then what it amounts to.
    pub fn written(&self, width: Option<u16>, color: bool) -> String {
        let mut parts = vec![];
        if self.said().next().is_some() {
            parts.push(match width.is_some_and(|width| width < NARROW) {
                true => self
                    .lines()
                    .map(|line| paragraph(&line))
                    .collect::<Vec<_>>()
                    .join("\n\n"),
                false => self.table(width, color),
            });
        }
        parts.push(self.sum());
        let items = |title: &str, lines: Vec<&str>| {
            let lines: Vec<String> = lines.into_iter().map(|line| format!("  {}", clean(line))).collect();
            (!lines.is_empty()).then(|| format!("{title}:\n{}", lines.join("\n")))
        };
        let commands = self.to_release.iter().map(|one| one.release_command.as_str());
        parts.extend(items(
            "These instances are gone, and their records still open. A release finds nothing left, and closes them (asks for the \
             ExternalId)",
            commands.collect(),
        ));
        parts.extend(items(
            "Not looked at",
            self.not_looked_at.iter().map(String::as_str).collect(),
        ));
        parts.join("\n\n")
    }

    fn table(&self, width: Option<u16>, color: bool) -> String {
        let mut table = table(["REGION", "WHAT", "WHERE", "RESULT", "WHY"], width);
        if color {
            table.enforce_styling();
        }
        for line in self.lines() {
            let plain = |text: &str| Cell::new(clean(text));
            let result = Cell::new(line.said.result.word()).fg(line.said.result.color());
            table.add_row([
                plain(line.region.as_str()),
                plain(&line.what),
                plain(line.place),
                result,
                plain(&line.said.why),
            ]);
        }
        table.trim_fmt()
    }

    fn sum(&self) -> String {
        let place = format!("account {}", self.account_id);
        if self.said().next().is_none() {
            let regions: Vec<&str> = self.regions.iter().map(Region::as_str).collect();
            return format!("Nothing of ours was found in {place}, {}.", regions.join(", "));
        }
        let (kept, failed) = (self.count(Outcome::Kept), self.count(Outcome::Failed));
        if self.dry_run {
            let would = self.count(Outcome::WouldDelete);
            return format!("Nothing was changed in {place}: {would} would be deleted, {kept} kept, {failed} failed.");
        }
        let deleted = self.count(Outcome::Deleted);
        format!("In {place}: {deleted} deleted, {kept} kept, {failed} failed.")
    }
}

fn paragraph(line: &Line<'_>) -> String {
    let lines = [
        format!("{}: {}", line.said.result.word(), line.what),
        format!("  in {} of {}", line.place, line.region),
        format!("  {}", line.said.why),
    ];
    lines.map(|line| clean(&line)).join("\n")
}

#[cfg(test)]
mod tests {
    use entity_lockdown::steps::security_group::Purpose;

    use super::super::open::tests::{account, region, stored, unreadable};
    use super::*;

    fn group(said: Said) -> GroupRow {
        let group = FoundGroup {
            id: "sg-1".to_owned(),
            name: "entity-lockdown-isolation".to_owned(),
            vpc: "vpc-1".to_owned(),
            purpose: Purpose::Isolation,
        };
        GroupRow::of(region(), group, vec![], said)
    }

    fn entry(said: Said) -> EntryRow {
        EntryRow {
            region: region(),
            acl: "acl-1".to_owned(),
            verdict: Verdict::Deny,
            cidr: "10.0.0.5/32".parse().expect("a range"),
            numbers: Numbers {
                ingress: vec![3],
                egress: vec![3],
            },
            containments: vec![],
            said,
        }
    }

    fn failure(code: &str) -> Failure {
        Failure::own("ec2:DeleteSecurityGroup", "sg-1", "222222222222", code, "no")
    }

    fn report(dry_run: bool, open: Option<&Open>, groups: Vec<Said>, entries: Vec<Said>) -> Report {
        let mut report = Report::new(dry_run, account().id, &[region()], open);
        report.groups = groups.into_iter().map(group).collect();
        report.entries = entries.into_iter().map(entry).collect();
        report
    }

    #[test]
    fn the_table_says_of_each_thing_what_became_of_it_and_why() {
        let open = Open::default();
        let groups = vec![Said::deleted("nothing used it"), Said::kept("used by eni-1 (i-1)")];
        let mut report = report(false, Some(&open), groups, vec![Said::deleted("i-2 is gone")]);
        let gone = stored(
            "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0",
            vec![],
        );
        report.to_release.push(ToRelease::of(&gone.record));
        insta::assert_snapshot!(report.written(None, false), @r#"
        REGION     WHAT                                     WHERE  RESULT   WHY
        us-east-1  group entity-lockdown-isolation (sg-1)   vpc-1  deleted  nothing used it
        us-east-1  group entity-lockdown-isolation (sg-1)   vpc-1  kept     used by eni-1 (i-1)
        us-east-1  deny 10.0.0.5/32: rule 3 in, rule 3 out  acl-1  deleted  i-2 is gone

        In account 222222222222: 2 deleted, 1 kept, 0 failed.

        These instances are gone, and their records still open. A release finds nothing left, and closes them (asks for the ExternalId):
          lockdown publish --topic-arn 'arn:aws:sns:us-east-1:111111111111:requests' --action release --entity-arn 'arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0'
        "#);
        assert!(
            report
                .written(Some(60), false)
                .starts_with("deleted: group entity-lockdown-isolation (sg-1)\n")
        );
        assert!(report.written(None, true).contains("\u{1b}["));
    }

    #[test]
    fn a_dry_run_says_what_would_be_deleted_and_what_was_not_looked_at() {
        let dry = |groups| report(true, None, groups, vec![]).written(None, false);
        insta::assert_snapshot!(dry(vec![Said::would_delete("nothing uses it")]), @r#"
        REGION     WHAT                                    WHERE  RESULT        WHY
        us-east-1  group entity-lockdown-isolation (sg-1)  vpc-1  would delete  nothing uses it

        Nothing was changed in account 222222222222: 1 would be deleted, 0 kept, 0 failed.

        Not looked at:
          open containments: one that is under way may still need a group that no interface uses; --table names the journal
          network ACL entries: they carry no tags, and only the journal knows ours; --table names it, and where it is in another account, --journal-profile the way to it
        "#);
        assert!(dry(vec![]).starts_with("Nothing of ours was found in account 222222222222, us-east-1."));
    }

    #[test]
    fn programs_get_the_same() {
        let report = report(true, None, vec![Said::would_delete("w")], vec![Said::kept("k")]);
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(
            (&json["dryRun"], &json["groups"][0]["result"]),
            (&true.into(), &"would-delete".into())
        );
        assert_eq!(
            (&json["entries"][0]["ingress"][0], &json["entries"][0]["result"]),
            (&3.into(), &"kept".into())
        );
        assert_eq!(json["notLookedAt"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["toRelease"].as_array().map(Vec::len), Some(0));
    }

    #[test]
    fn the_exit_code_tells_all_done_from_some_and_none() {
        let denied = || Said::failed(&failure("NotReached"));
        let odd = || Said::undone("still there");
        for (groups, exit) in [
            (vec![], Exit::Done),
            (vec![Said::kept("k")], Exit::Done),
            (vec![denied()], Exit::OutOfReach),
            (vec![odd()], Exit::Failed),
            (vec![odd(), denied()], Exit::Failed),
            (vec![Said::deleted("d"), denied()], Exit::Partial),
            (vec![Said::kept("k"), odd()], Exit::Partial),
        ] {
            assert_eq!(report(false, None, groups, vec![]).exit(), exit);
        }
        let unreadable = Open::of(vec![unreadable("?")], &account());
        assert_eq!(report(false, Some(&unreadable), vec![], vec![]).exit(), Exit::Partial);
    }
}
