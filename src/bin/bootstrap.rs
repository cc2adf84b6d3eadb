//! The Lambda function: makes everything once, and handles one event after the other.

use std::collections::HashMap;
use std::rc::Rc;

use entity_lockdown::aws::{Accounts, accounts::shared_config};
use entity_lockdown::handler::{Deps, handle};
use entity_lockdown::journal::{Journal, dynamo::Table};
use entity_lockdown::moment::Moment;
use entity_lockdown::notice::Publisher;
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
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
    let deps = Rc::new(Deps::new(
        settings.clone(),
        Accounts::new(config.clone(), &settings.member_role, settings.hub()),
        Journal::Dynamo(Table::new(
            aws_sdk_dynamodb::Client::new(&config),
            &settings.journal_table,
            settings.hub().as_str(),
        )),
        Publisher::new(aws_sdk_sns::Client::new(&config), &settings),
        Wakeups::new(
            aws_sdk_sqs::Client::new(&config),
            &settings.wake_queue,
            settings.hub().as_str(),
        ),
        format!("{process}#{}-{began}", std::process::id()),
    ));
    seed_random_generator();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let deps = Rc::clone(&deps);
        let deadline = Moment::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        // Boxed: the runtime nests its handler's future in its own, by value.
        async move { handle(event.payload, deadline, &deps).boxed_local().await }
    }))
    .await
}
