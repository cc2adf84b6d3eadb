//! Whole files of events and what the shipped rules say of them: those of this project (`tests/events`), and those that nobody here
//! wrote, where they are at hand (`../shared/data`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Response, RuleSet};
use crate::event::json::Json;
use crate::event::named::{Subject, named, tests::line};
use crate::event::recognise::{NotAnEvent, recognise};
use crate::event::split::Splitter;
use crate::event::{Event, EventType};
use crate::moment::Moment;

/// A path of this project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn shipped() -> RuleSet {
    RuleSet::load(&project("rules")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn now() -> Moment {
    "2026-11-22T18:00:00Z".parse().expect("a time")
}

/// The files of a folder of real data, sorted; none where there is no such folder.
fn shared(folder: &str) -> Vec<PathBuf> {
    let folder = project("../shared/data").join(folder);
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("skipped: there is no folder {}", folder.display());
        return vec![];
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// Calls a function with every event of a file, or with why something of it is none.
fn each(file: &Path, mut judge: impl FnMut(Result<Event<'_>, NotAnEvent>)) {
    let mut splitter = Splitter::new(fs::File::open(file).expect("a file"));
    while let Some(piece) = splitter.next() {
        let piece = piece.unwrap_or_else(|(_, error)| panic!("{}: {error}", file.display()));
        let json = Json::read(piece.bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        recognise(&json).into_iter().for_each(&mut judge);
    }
}

/// A row of the table for every event of a file.
fn rows(set: &RuleSet, file: &Path) -> Vec<String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut rows = vec![];
    each(file, |event| {
        let cells = match event {
            Err(NotAnEvent::Other(why)) => [format!("skipped: {why}"), String::new(), String::new(), String::new()],
            Err(NotAnEvent::Broken(why)) => panic!("{name}: {why}"),
            Ok(event) => {
                let rules: Vec<&str> = set
                    .decide(&event, now())
                    .matched
                    .iter()
                    .map(|rule| &*rule.clause.name)
                    .collect();
                let entities: Vec<String> = named(&event).into_iter().map(line).collect();
                let closed = event.never_acted_on().unwrap_or_default();
                [
                    event.kind.to_string(),
                    rules.join(", "),
                    entities.join("<br>"),
                    closed.to_owned(),
                ]
            }
        };
        rows.push(format!("| {name} | {} |", cells.join(" | ")));
    });
    rows
}

/// The table of a README, by its heading, as it should be.
fn compare(heading: &str, rows: &[String]) {
    let readme = fs::read_to_string(project("tests/events/README.md")).expect("a README");
    let section = readme.split(&format!("## {heading}\n")).nth(1).expect(heading);
    let written: Vec<&str> = section
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| ") && line.contains(".json"))
        .collect();
    assert!(
        written == rows,
        "tests/events/README.md, {heading}, should be:\n{}",
        rows.join("\n")
    );
}

#[test]
fn every_event_of_our_own_is_handled_as_the_table_says() {
    let set = shipped();
    let entries = fs::read_dir(project("tests/events")).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension != "md"));
    files.sort();
    let rows: Vec<String> = files.iter().flat_map(|file| rows(&set, file)).collect();
    compare("Events of this project", &rows);
}

#[test]
fn every_envelope_of_cloud_custodian_is_handled_as_the_table_says() {
    let set = shipped();
    let rows: Vec<String> = shared("events/cloud-custodian")
        .iter()
        .flat_map(|file| rows(&set, file))
        .collect();
    if !rows.is_empty() {
        compare("Envelopes of Cloud Custodian", &rows);
    }
}

#[test]
fn the_shipped_rules_are_those_that_were_asked_for_and_only_notify() {
    let set = shipped();
    assert!(
        set.rules()
            .iter()
            .all(|rule| rule.response == Response::Notify && rule.clause.enabled)
    );
    assert!(
        set.rules()
            .iter()
            .all(|rule| rule.clause.reason.is_some() && rule.clause.title.is_some())
    );
    assert!(
        set.suppressions().iter().all(|one| !one.clause.enabled),
        "examples suppress nothing until somebody says so"
    );
    let count = |prefix: &str| {
        set.rules()
            .iter()
            .filter(|rule| rule.clause.name.starts_with(prefix))
            .count()
    };
    assert_eq!(
        (count("ecr-"), count("ssm-"), count("guardduty-"), set.rules().len()),
        (7, 11, 7, 25)
    );
    let severity = |name: &str| {
        set.rules()
            .iter()
            .find(|rule| rule.clause.name == name)
            .map(|rule| rule.severity)
    };
    assert_eq!(severity("ecr-image-scan-findings-high"), Some(1));
    assert_eq!(severity("ecr-image-scan-findings-medium"), Some(2));
    let others = set
        .rules()
        .iter()
        .filter(|rule| !rule.clause.name.starts_with("guardduty-") && !rule.clause.name.contains("scan-findings"));
    assert!(others.clone().count() == 16 && others.into_iter().all(|rule| rule.severity == 3));
    assert_eq!(
        set.event_sources().into_iter().collect::<Vec<_>>(),
        ["ecr.amazonaws.com", "ssm.amazonaws.com"]
    );
}

/// All 310 events of Stratus Red Team's logs are CloudTrail records, and none is lost. Of the shipped rules those of Systems Manager
/// match, since some techniques begin by looking around there and two send commands or open sessions:
///
/// - discovery: 112 `DescribeInstanceInformation` and 5 `DescribeParameters`; the 8 `GetCommandInvocation` and 5 `GetParameters` are
///   neither `Describe*` nor `List*`;
/// - 2 `SendCommand`, 3 `StartSession`, 3 `TerminateSession`.
///
/// Each record names its caller: 242 users (one by way of a federated session) and 68 roles. What is acted upon are users and roles in
/// calls of IAM and STS, and instances and functions in others; of those no ARN can be made, since the regions are made up.
#[test]
fn the_counts_over_real_cloudtrail_are_those_that_the_calls_explain() {
    let files = shared("cloudtrail/stratus-red-team");
    if files.is_empty() {
        return;
    }
    let set = shipped();
    let (mut events, mut rules, mut subjects) = (0, BTreeMap::new(), BTreeMap::new());
    for file in &files {
        each(file, |event| {
            let event = event.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert_eq!(event.kind, EventType::CloudTrail);
            assert!(event.time().is_some() && event.account().is_some() && event.id().is_some());
            events += 1;
            for rule in set.decide(&event, now()).matched {
                *rules.entry(rule.clause.name.clone()).or_insert(0) += 1;
            }
            for named in named(&event) {
                let kind = match named.subject {
                    Subject::Entity(entity) => entity.kind.name(),
                    Subject::AccessKey { .. } => "access key",
                    Subject::InstanceProfile(_) => "instance profile",
                    Subject::Refused { text, reason } => {
                        assert!(reason.contains("region"), "{text}: {reason}");
                        "refused"
                    }
                };
                *subjects.entry((format!("{:?}", named.part), kind)).or_insert(0) += 1;
            }
        });
    }
    assert_eq!((files.len(), events), (35, 310));
    let rules: Vec<(&str, i32)> = rules.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(
        rules,
        [
            ("ssm-information-discovery", 112 + 5),
            ("ssm-send-command", 2),
            ("ssm-start-session", 3),
            ("ssm-terminate-session", 3),
        ]
    );
    let subjects: Vec<(&str, &str, i32)> = subjects
        .iter()
        .map(|((part, kind), count)| (part.as_str(), *kind, *count))
        .collect();
    assert_eq!(
        subjects,
        [
            ("Principal", "iam-role", 68),
            ("Principal", "iam-user", 242),
            ("Resource", "iam-role", 11),
            ("Resource", "iam-user", 7),
            ("Resource", "refused", 104),
        ]
    );
}
