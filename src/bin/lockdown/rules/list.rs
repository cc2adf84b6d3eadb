//! `lockdown rules list`: which rules there are.

use entity_lockdown::moment::Moment;
use entity_lockdown::rules::{Clause, RuleSet};
use serde::Serialize;

use super::{FolderArgs, sound};
use crate::screen::{Screen, clean, table};
use crate::trouble::{Exit, Trouble};

/// List the rules and suppressions of a folder
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  lockdown rules list\n  lockdown rules list my-rules --json | jq -r '.[] | select(.action == \"contain\").name'"
)]
pub struct Args {
    #[command(flatten)]
    rules: FolderArgs,
    /// A JSON array, one object for each rule, with its condition as a query
    #[arg(long)]
    json: bool,
}

/// One rule or suppression, as programs read it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    title: Option<&'a str>,
    severity: Option<u8>,
    action: &'a str,
    entities: Option<&'a str>,
    state: &'a str,
    expires: Option<Moment>,
    owner: Option<&'a str>,
    reason: Option<&'a str>,
    condition: String,
    file: &'a str,
    line: usize,
}

impl<'a> Row<'a> {
    fn of(clause: &'a Clause, now: Moment) -> Self {
        let state = match (clause.enabled, clause.is_expired(now)) {
            (false, _) => "off",
            (true, true) => "expired",
            (true, false) => "on",
        };
        Self {
            name: &clause.name,
            title: clause.title.as_deref(),
            severity: None,
            action: "suppress",
            entities: None,
            state,
            expires: clause.expires,
            owner: clause.owner.as_deref(),
            reason: clause.reason.as_deref(),
            condition: clause.condition.to_string(),
            file: &clause.origin.file,
            line: clause.origin.line,
        }
    }
}

fn rows(set: &RuleSet, now: Moment) -> Vec<Row<'_>> {
    let rules = set.rules().iter().map(|rule| Row {
        severity: Some(rule.severity),
        action: rule.response.name(),
        entities: Some(rule.whom.name()),
        ..Row::of(&rule.clause, now)
    });
    let suppressions = set.suppressions().iter().map(|one| Row::of(&one.clause, now));
    rules.chain(suppressions).collect()
}

/// Carries the verb out.
pub fn run(args: &Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let set = sound(&args.rules.folder, screen)?;
    let rows = rows(&set, Moment::now());
    if args.json {
        screen.show_json(&rows)?;
        return Ok(Exit::Done);
    }
    let mut table = table(
        ["RULE", "SEVERITY", "ACTION", "ENTITIES", "STATE", "OWNER", "TITLE"],
        screen.width,
    );
    for row in rows {
        let severity = row.severity.map_or("-".to_owned(), |severity| severity.to_string());
        let text = |text: Option<&str>| clean(text.unwrap_or("-"));
        table.add_row([
            row.name.to_owned(),
            severity,
            row.action.to_owned(),
            text(row.entities),
            row.state.to_owned(),
            text(row.owner),
            text(row.title.or(row.reason)),
        ]);
    }
    screen.show(&table.trim_fmt());
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Folder, RULES};
    use super::*;
    use crate::screen::tests::paper;

    fn listed(name: &str, json: bool) -> String {
        let folder = Folder::with(name, &[("x.toml", RULES)]);
        let (mut screen, out, _) = paper();
        let rules = FolderArgs {
            folder: folder.0.clone(),
        };
        assert_eq!(run(&Args { rules, json }, &mut screen), Ok(Exit::Done));
        out.text()
    }

    #[test]
    fn every_rule_is_a_row() {
        insta::assert_snapshot!(listed("list", false), @r"
        RULE              SEVERITY  ACTION    ENTITIES   STATE    OWNER     TITLE
        ssm-send-command  3         notify    principal  on       platform  A command was sent
        old               1         contain   all        expired  -         Anything
        scanner           -         suppress  -          on       -         ours
        ");
    }

    #[test]
    fn programs_get_the_condition_too() {
        let found: serde_json::Value = serde_json::from_str(&listed("list-json", true)).expect("JSON");
        assert_eq!(found.as_array().map(Vec::len), Some(3));
        assert_eq!(found[1]["state"], "expired");
        assert_eq!(found[2]["condition"], r#"sourceIPAddress = "192.0.2.1""#);
        assert_eq!(
            (&found[0]["line"], &found[0]["entities"]),
            (&2.into(), &"principal".into())
        );
    }
}
