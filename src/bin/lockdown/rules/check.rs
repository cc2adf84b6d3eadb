//! `lockdown rules check`: whether rule files are sound.

use entity_lockdown::moment::Moment;
use entity_lockdown::rules::RuleSet;
use entity_lockdown::rules::problem::Problem;
use serde::Serialize;

use super::{FolderArgs, counted, load, say};
use crate::screen::Screen;
use crate::trouble::{Exit, Trouble};

/// Check the rule files of a folder, and say all that is wrong with them
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  lockdown rules check\n  lockdown rules check my-rules --json | jq '.problems[].text'"
)]
pub struct Args {
    #[command(flatten)]
    rules: FolderArgs,
    /// An object with `rules`, `suppressions` (how many), `expired` (names) and `problems`
    #[arg(long)]
    json: bool,
}

/// What was found, as programs read it.
#[derive(Debug, Default, Serialize)]
struct Found<'a> {
    rules: usize,
    suppressions: usize,
    expired: Vec<&'a str>,
    problems: Vec<Mistake<'a>>,
}

#[derive(Debug, Serialize)]
struct Mistake<'a> {
    file: &'a str,
    line: Option<usize>,
    column: Option<usize>,
    text: &'a str,
}

impl<'a> Mistake<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self {
            file: &problem.file,
            line: problem.spot.as_ref().map(|spot| spot.line),
            column: problem.spot.as_ref().map(|spot| spot.column),
            text: &problem.text,
        }
    }
}

/// Carries the verb out.
pub fn run(args: &Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    match load(&args.rules.folder)? {
        Ok(set) => {
            sound(&set, args.json, screen)?;
            Ok(Exit::Done)
        }
        Err(problems) => {
            if args.json {
                screen.show_json(&Found {
                    problems: problems.0.iter().map(Mistake::of).collect(),
                    ..Found::default()
                })?;
            }
            Err(say(&problems, screen))
        }
    }
}

fn sound(set: &RuleSet, json: bool, screen: &mut Screen) -> Result<(), Trouble> {
    let now = Moment::now();
    let expired: Vec<_> = set.clauses().filter(|clause| clause.is_expired(now)).collect();
    let (rules, suppressions) = (set.rules().len(), set.suppressions().len());
    for clause in &expired {
        let when = clause.expires.map(Moment::for_people).unwrap_or_default();
        screen.say(&format!(
            "note: {}: `{}` expired at {when}, and applies no more",
            clause.origin, clause.name
        ));
    }
    if json {
        return screen.show_json(&Found {
            rules,
            suppressions,
            expired: expired.iter().map(|clause| clause.name.as_str()).collect(),
            problems: vec![],
        });
    }
    let off = set.clauses().filter(|clause| !clause.enabled).count();
    let off = if off > 0 {
        format!(" ({off} of them off)")
    } else {
        String::new()
    };
    screen.show(&format!(
        "{} and {}{off}: sound",
        counted(rules, "rule"),
        counted(suppressions, "suppression")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Folder, RULES};
    use super::*;
    use crate::screen::tests::paper;

    fn checked(name: &str, text: &str, json: bool) -> (Result<Exit, Trouble>, String, String) {
        let folder = Folder::with(name, &[("x.toml", text)]);
        let (mut screen, out, err) = paper();
        let rules = FolderArgs {
            folder: folder.0.clone(),
        };
        let ended = run(&Args { rules, json }, &mut screen);
        (ended, out.text(), err.text())
    }

    #[test]
    fn sound_files_are_counted_and_what_has_expired_is_named() {
        let (ended, out, err) = checked("check-sound", RULES, false);
        assert_eq!(ended, Ok(Exit::Done));
        assert_eq!(out, "2 rules and 1 suppression: sound\n");
        assert!(
            err.contains("x.toml:11: `old` expired at 2020-01-02 00:00:00 UTC"),
            "{err}"
        );
    }

    #[test]
    fn all_mistakes_are_pointed_at_and_the_exit_code_says_failed() {
        let broken = RULES
            .replace("severity = 3", "severty = 3")
            .replace("eventName =", "eventName ==");
        let (ended, out, err) = checked("check-broken", &broken, false);
        assert!(ended.is_err_and(|trouble| trouble.exit == Exit::Failed && trouble.text.contains("3 mistakes")));
        assert_eq!(out, "");
        assert!(
            err.contains("x.toml:5:1: unknown key `severty` in [[rule]]: did you mean `severity`?"),
            "{err}"
        );
        assert!(
            err.contains("  6 | when = 'eventSource = \"ssm.amazonaws.com\" and eventName == \"SendCommand\"'"),
            "{err}"
        );
    }

    #[test]
    fn programs_get_each_mistake_with_its_place() {
        let (ended, out, _) = checked("check-json", &RULES.replace("severity = 3", "severity = 7"), true);
        assert!(ended.is_err());
        let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(
            (&found["problems"][0]["line"], &found["problems"][0]["column"]),
            (&5.into(), &12.into())
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_found() {
        let (mut screen, ..) = paper();
        let rules = FolderArgs {
            folder: "no/such/folder".into(),
        };
        let ended = run(&Args { rules, json: false }, &mut screen);
        assert!(ended.is_err_and(|trouble| trouble.exit == Exit::NotFound));
    }
}
