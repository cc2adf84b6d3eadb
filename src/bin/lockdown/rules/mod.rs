//! `lockdown rules`: checks, lists and tries the rules of a folder. Needs no AWS.

pub mod check;
mod input;
pub mod list;
mod tally;
pub mod test;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use entity_lockdown::rules::RuleSet;
use entity_lockdown::rules::problem::Problems;

use crate::screen::Screen;
use crate::trouble::{Exit, Trouble};

/// What can be done with rules.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Check(check::Args),
    List(list::Args),
    Test(test::Args),
}

/// Where the rules are.
#[derive(Debug, clap::Args)]
pub struct FolderArgs {
    /// The folder with the rule files (*.toml)
    #[arg(default_value = "rules", value_name = "DIR")]
    folder: PathBuf,
}

/// Carries the verb out.
pub fn run(verb: Verb, screen: &mut Screen) -> Result<Exit, Trouble> {
    match verb {
        Verb::Check(args) => check::run(&args, screen),
        Verb::List(args) => list::run(&args, screen),
        Verb::Test(args) => test::run(&args, screen),
    }
}

/// The rules of a folder, or all that is wrong with them.
fn load(folder: &Path) -> Result<Result<RuleSet, Problems>, Trouble> {
    if !folder.is_dir() {
        return Err(Trouble::not_found(format!("there is no folder `{}`", folder.display())));
    }
    Ok(RuleSet::load(folder))
}

/// The rules of a folder for a verb that needs sound ones; what is wrong is said.
fn sound(folder: &Path, screen: &mut Screen) -> Result<RuleSet, Trouble> {
    load(folder)?.map_err(|problems| say(&problems, screen))
}

/// Says all that is wrong.
fn say(problems: &Problems, screen: &mut Screen) -> Trouble {
    for problem in &problems.0 {
        screen.say(&problem.pointed());
    }
    let count = match problems.0.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    Trouble::failed(format!("the rule files have {count}; nothing was done"))
}

/// A number and what it counts, as in `1 rule` and `2 rules`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
pub mod tests {
    use std::fs;
    use std::path::PathBuf;

    /// A folder of this test's own, which goes with it.
    pub struct Folder(pub PathBuf);

    impl Folder {
        /// One that holds these files.
        pub fn with<T: AsRef<[u8]>>(name: &str, files: &[(&str, T)]) -> Self {
            let path = std::env::temp_dir().join(format!("lockdown-{name}-{}", std::process::id()));
            for (file, content) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
                fs::write(file, content).expect("a file");
            }
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Two rules and a suppression.
    pub const RULES: &str = r#"
[[rule]]
name = "ssm-send-command"
title = "A command was sent"
severity = 3
when = 'eventSource = "ssm.amazonaws.com" and eventName = "SendCommand"'
action = "notify"
entities = "principal"
owner = "platform"

[[rule]]
name = "old"
title = "Anything"
severity = 1
when = 'event_type = "cloudtrail"'
action = "contain"
entities = "all"
expires = 2020-01-01

[[suppress]]
name = "scanner"
when = 'sourceIPAddress = "192.0.2.1"'
reason = "ours"
expires = 2999-12-31
"#;
}
