//! The command for responders: publishes requests, follows them, reads the journal and repairs it, removes what is left over, and tries
//! rules.

mod age;
mod aws;
mod cleanup;
mod follow;
mod import;
mod log_lines;
mod permissions;
mod profile;
mod publish;
mod rules;
mod screen;
mod secret;
mod show;
mod standing;
mod status;
mod trouble;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::screen::Screen;
use crate::trouble::{CODES, Exit, Trouble};

/// Locks compromised AWS entities down, and releases them.
///
/// A request is a message to the hub's topic. What becomes of it stands in the hub's journal, and in the mails.
#[derive(Debug, Parser)]
#[command(name = "lockdown", version, max_term_width = 120, after_long_help = after_help())]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Publish(publish::Args),
    Status(status::Args),
    Show(show::Args),
    /// Repair the journal
    #[command(subcommand)]
    Journal(JournalVerb),
    Cleanup(cleanup::Args),
    Permissions(permissions::Args),
    /// Check, list and try the rules that decide what is done about events
    #[command(subcommand)]
    Rules(rules::Verb),
}

#[derive(Debug, Subcommand)]
enum JournalVerb {
    Import(import::Args),
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
           lockdown publish --topic-arn ARN --entity-arn arn:aws:iam::222222222222:user/alice --reason 'key leaked'\n  \
           lockdown status --table TABLE\n  \
           lockdown show arn:aws:iam::222222222222:user/alice --table TABLE\n  \
           lockdown publish --topic-arn ARN --entity-arn arn:aws:iam::222222222222:user/alice --action release\n  \
           lockdown rules test --rules rules --events cloudtrail/2026/11\n\n\
         The topic's ARN and the table's name are the outputs TopicArn and JournalTableName of the hub's stack.\n\n{}\n\n{CODES}",
        aws::CREDENTIALS
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut screen = Screen::of_process();
    let ended = run(cli.verb, &mut screen).await;
    if let Err(trouble) = &ended {
        screen.say(&format!("error: {trouble}"));
    }
    let exit = ended.unwrap_or_else(|trouble| trouble.exit);
    match screen.finish() {
        Ok(()) => exit.into(),
        Err(trouble) => {
            Screen::of_process().say(&format!("error: {trouble}"));
            trouble.exit.into()
        }
    }
}

async fn run(verb: Verb, screen: &mut Screen) -> Result<Exit, Trouble> {
    match verb {
        Verb::Publish(args) => publish::run(args, screen).await,
        Verb::Status(args) => status::run(args, screen).await,
        Verb::Show(args) => show::run(args, screen).await,
        Verb::Journal(JournalVerb::Import(args)) => import::run(args, screen).await,
        Verb::Cleanup(args) => cleanup::run(args, screen).await,
        Verb::Permissions(args) => permissions::run(&args, screen),
        Verb::Rules(verb) => rules::run(verb, screen),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_verb_explains_itself() {
        Cli::command().debug_assert();
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
        }
    }

    #[test]
    fn no_option_takes_the_secret_itself() {
        let mut found = vec![];
        for verb in Cli::command().get_subcommands() {
            found.extend(verb.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned));
        }
        assert!(found.contains(&"external-id-file".to_owned()));
        assert!(!found.contains(&"external-id".to_owned()));
    }
}
