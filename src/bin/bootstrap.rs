//! The Lambda function: makes everything once, and handles one event after the other.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use entity_lockdown::aws::{Accounts, accounts::shared_config};
use entity_lockdown::handler::{Deps, invoke};
use entity_lockdown::journal::{Journal, dynamo::Table};
use entity_lockdown::moment::Moment;
use entity_lockdown::notice::Publisher;
use entity_lockdown::rules::RuleSet;
use entity_lockdown::rules::problem::Problems;
use entity_lockdown::settings::Settings;
use entity_lockdown::wake::Wakeups;
use futures_util::FutureExt;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

/// The first random number costs some 20 ms of a processor, since the generator is seeded for it. Here they are the start's, for which
/// Lambda gives a whole processor; in the first message they would hold the deny up. (The CA bundle is loaded when the clients are made.)
fn seed_random_generator() {
    if aws_lc_rs::rand::fill(&mut [0; 1]).is_err() {
        tracing::warn!("the random generator was not seeded ahead");
    }
}

/// `bootstrap check-rules FOLDER`: reads rules as the function will, before they are packaged with it, and writes the services that
/// they name, as the template's parameter `CloudTrailSources` takes them.
fn check_rules(folder: &str) -> ExitCode {
    // Nobody is left to hear of it if writing fails.
    match RuleSet::load(Path::new(folder)) {
        Ok(rules) => {
            let sources: Vec<String> = rules.event_sources().into_iter().collect();
            let _ = writeln!(std::io::stdout(), "{}", sources.join(","));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let _ = writeln!(std::io::stderr(), "{problems}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let (Some("check-rules"), Some(folder)) = (arguments.next().as_deref(), arguments.next()) {
        return check_rules(&folder);
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the function can't start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The rules that were packaged beside this program. Without them nothing is automatic, and messages of people are carried out as ever.
fn load_rules() -> Result<RuleSet, Problems> {
    let program = std::env::current_exe().unwrap_or_default();
    let rules = RuleSet::load(&program.parent().unwrap_or(Path::new("")).join("rules"));
    if let Err(problems) = &rules {
        tracing::error!("the rules can't be loaded, and nothing is automatic: {problems}");
    }
    rules
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Error> {
    let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".to_owned());
    let filter =
        tracing_subscriber::EnvFilter::try_new(&level).unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // JSON, one line each, without a time of its own: Lambda adds it.
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_target(false)
        .flatten_event(true)
        .with_writer(std::io::stdout)
        .init();

    let variables: HashMap<String, String> = std::env::vars().collect();
    let settings = Settings::read(&variables)?;
    let config = shared_config(settings.attempt).await;
    let process = variables.get("AWS_LAMBDA_LOG_STREAM_NAME").cloned().unwrap_or_default();
    let began = Moment::now().millis();
    let deps = Deps::new(
        settings.clone(),
        Accounts::new(config.clone(), &settings.member_role, settings.hub()),
        Journal::Dynamo(
            Table::new(
                aws_sdk_dynamodb::Client::new(&config),
                &settings.journal_table,
                settings.hub().as_str(),
            )
            .with_patience(settings.out_of_reach),
        ),
        Publisher::new(aws_sdk_sns::Client::new(&config), &settings),
        Wakeups::new(
            aws_sdk_sqs::Client::new(&config),
            &settings.wake_queue,
            settings.hub().as_str(),
        ),
        format!("{process}#{}-{began}", std::process::id()),
    );
    let deps = Rc::new(deps.with_rules(load_rules()));
    seed_random_generator();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let deps = Rc::clone(&deps);
        let deadline = Moment::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        // Boxed: the runtime nests its handler's future in its own, by value.
        async move {
            let id = event.context.request_id;
            invoke(event.payload, &id, deadline, &deps).boxed_local().await
        }
    }))
    .await
}
