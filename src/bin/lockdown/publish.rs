//! `lockdown publish`: one request for any number of entities.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sns::types::MessageAttributeValue;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use entity_lockdown::arn::{Arn, Region};
use entity_lockdown::aws::Failure;
use entity_lockdown::entity::Entity;
use entity_lockdown::ingress::sns::MOST_ENTITIES;
use entity_lockdown::request::Action;
use serde::Serialize;

use crate::aws::{connect, explain, journal_with};
use crate::follow::{Followed, Watch, exit_of, follow};
use crate::screen::Screen;
use crate::secret::{self, ExternalId};
use crate::trouble::{CODES, Exit, Trouble};

/// The longest claim (reason, incident, requested by) that the function keeps, in characters.
const LONGEST_CLAIM: usize = 256;

/// Publish a request: contain, release or plan
///
/// The request goes to the hub's topic as one SNS message for each 25 entities. The ExternalId comes from the environment
/// (LOCKDOWN_EXTERNAL_ID), from --external-id-file, or from a hidden prompt; it is never an argument, which others could read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = after_help())]
pub struct Args {
    /// The request topic: output TopicArn of the hub's stack
    #[arg(long, value_name = "ARN")]
    topic_arn: String,
    /// What to lock or release: an IAM user or role, a Lambda function or an EC2 instance; may be repeated
    #[arg(long, value_name = "ARN", required = true, num_args = 1..)]
    entity_arn: Vec<String>,
    /// contain locks, release puts everything back, plan mails what contain would do and changes nothing
    #[arg(long, default_value = "contain", value_parser = PossibleValuesParser::new(["contain", "release", "plan"]).try_map(|text| text.parse::<Action>()))]
    action: Action,
    /// Why; recorded and mailed as claimed
    #[arg(long, value_name = "TEXT", value_parser = claim)]
    reason: Option<String>,
    /// The incident's id in your own tools
    #[arg(long, value_name = "TEXT", value_parser = claim)]
    incident_id: Option<String>,
    /// Who asks
    #[arg(long, value_name = "TEXT", value_parser = claim)]
    requested_by: Option<String>,
    /// With release: overwrite what somebody else has changed since
    #[arg(long)]
    force: bool,
    /// With release: make the access keys active again that containment made inactive
    #[arg(long)]
    reactivate_keys: bool,
    /// The hub's region [default: that of the topic's ARN]
    #[arg(long)]
    region: Option<Region>,
    /// A file that holds the ExternalId and nothing else (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    external_id_file: Option<PathBuf>,
    /// Follow the journal until each entity's request has ended; the exit code tells how
    #[arg(long)]
    wait: bool,
    /// With --wait: the journal's table, output JournalTableName of the hub's stack
    #[arg(long, env = "LOCKDOWN_TABLE", value_name = "NAME")]
    table: Option<String>,
    /// With --wait: how long, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// One JSON object: the messages, with --wait the results too
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Examples:\n  \
           lockdown publish --topic-arn ARN --entity-arn arn:aws:iam::222222222222:user/alice --reason 'key leaked' --incident-id INC-7\n  \
           lockdown publish --topic-arn ARN --entity-arn ARN1 ARN2 --wait --table TABLE\n  \
           lockdown publish --topic-arn ARN --entity-arn ARN1 --action plan\n  \
           lockdown publish --topic-arn ARN --entity-arn ARN1 --action release --external-id-file secret.txt\n\n{CODES}"
    )
}

/// A claim as the function keeps it: nothing is cut silently.
fn claim(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty: leave it out".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it holds control characters, such as line ends, which are not kept".to_owned());
    }
    match text.chars().count() {
        0..=LONGEST_CLAIM => Ok(text.to_owned()),
        length => Err(format!("it has {length} characters, and {LONGEST_CLAIM} are kept")),
    }
}

/// A request that makes sense.
#[derive(Debug)]
struct Order {
    topic: String,
    region: Region,
    action: Action,
    entities: Vec<Entity>,
    claims: BTreeMap<&'static str, String>,
    wait: Option<(String, Duration)>,
}

/// Judges the arguments; all bad ARNs are named at once.
fn order(args: &Args) -> Result<Order, Trouble> {
    let topic = topic(&args.topic_arn)?;
    let region = args.region.clone().or_else(|| topic.region.clone());
    let region = region.ok_or_else(|| Trouble::usage("the topic's ARN names no region"))?;
    let (mut entities, mut bad): (Vec<Entity>, Vec<String>) = (vec![], vec![]);
    let mut known = HashSet::new();
    for text in &args.entity_arn {
        match text.parse::<Entity>() {
            Ok(entity) if entity.partition != topic.partition => bad.push(format!(
                "`{text}`: it is in the partition {}, and the topic is in {}: each partition has a hub of its own",
                entity.partition, topic.partition
            )),
            Ok(entity) => {
                if known.insert(entity.key()) {
                    entities.push(entity);
                }
            }
            Err(error) => bad.push(format!("`{text}`: {error}")),
        }
    }
    if !bad.is_empty() {
        return Err(Trouble::usage(format!(
            "nothing was published, since not all ARNs name an entity:\n{}",
            bad.join("\n")
        )));
    }
    for (given, option) in [(args.force, "--force"), (args.reactivate_keys, "--reactivate-keys")] {
        if given && args.action != Action::Release {
            return Err(Trouble::usage(format!("{option} is for --action release")));
        }
    }
    let wait = match (args.wait, args.action, &args.table) {
        (false, _, _) => None,
        (true, Action::Plan, _) => {
            return Err(Trouble::usage(
                "--wait has nothing to follow with --action plan: the plan comes by mail alone",
            ));
        }
        (true, _, None) => {
            return Err(Trouble::usage(
                "--wait reads the journal: name its table with --table or LOCKDOWN_TABLE (output JournalTableName of the hub's stack)",
            ));
        }
        (true, _, Some(table)) => Some((table.clone(), Duration::from_secs(args.timeout))),
    };
    let yes = |given: bool| given.then(|| "true".to_owned());
    let claims = [
        ("Reason", args.reason.clone()),
        ("IncidentId", args.incident_id.clone()),
        ("RequestedBy", args.requested_by.clone()),
        ("Force", yes(args.force)),
        ("ReactivateKeys", yes(args.reactivate_keys)),
    ];
    Ok(Order {
        topic: args.topic_arn.clone(),
        region,
        action: args.action,
        entities,
        claims: claims
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        wait,
    })
}

fn topic(text: &str) -> Result<Arn, Trouble> {
    let wrong = |why: String| {
        Trouble::usage(format!(
            "`{text}` is no topic: {why}; expected is arn:PARTITION:sns:REGION:ACCOUNT:NAME"
        ))
    };
    let arn: Arn = text.parse().map_err(|error| wrong(format!("it is {error}")))?;
    let whole = arn.service == "sns" && arn.region.is_some() && !arn.resource.contains(':');
    if whole {
        Ok(arn)
    } else {
        Err(wrong("it names something else".to_owned()))
    }
}

/// The attributes of the message for some of the entities: their types and values, by name.
fn attributes(
    order: &Order,
    entities: &[Entity],
    secret: &ExternalId,
) -> BTreeMap<&'static str, (&'static str, String)> {
    let arns: Vec<String> = entities.iter().map(|entity| entity.named.to_string()).collect();
    let arn = match arns.as_slice() {
        [one] => ("String", one.clone()),
        several => ("String.Array", serde_json::Value::from(several.to_vec()).to_string()),
    };
    let mut found = BTreeMap::from([
        ("Arn", arn),
        ("Action", ("String", order.action.to_string())),
        ("ExternalId", ("String", secret.reveal().to_owned())),
    ]);
    found.extend(
        order
            .claims
            .iter()
            .map(|(name, value)| (*name, ("String", value.clone()))),
    );
    found
}

/// What was done, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    topic_arn: String,
    action: Action,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_published: Vec<NotPublished>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<Followed>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    entities: Vec<String>,
}

#[derive(Debug, Serialize)]
struct NotPublished {
    entities: Vec<String>,
    error: String,
    #[serde(skip)]
    exit: Exit,
}

/// Carries the verb out.
pub async fn run(args: Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let order = order(&args)?;
    let variable = std::env::var(secret::VARIABLE).ok();
    let secret = secret::find(args.external_id_file.as_deref(), variable.as_deref())?;
    let config = connect(Some(&order.region)).await?;
    let mut done = publish(&order, &secret, &config, screen, args.json).await;
    let mut exit = done.not_published.first().map_or(Exit::Done, |first| first.exit);
    if let Some((table, timeout)) = &order.wait
        && !done.messages.is_empty()
    {
        let journal = journal_with(&config, table);
        let watches = watches(&order, &done.messages);
        match follow(&journal, watches, *timeout, screen, args.json).await {
            Ok(results) => {
                exit = if exit == Exit::Done { exit_of(&results) } else { exit };
                done.results = Some(results);
            }
            Err(trouble) => {
                screen.say(&format!("error: it is published, and can't be followed: {trouble}"));
                exit = trouble.exit;
            }
        }
    }
    if args.json {
        screen.show_json(&done)?;
    }
    Ok(exit)
}

/// Publishes batch by batch. One that fails keeps no other back.
async fn publish(order: &Order, secret: &ExternalId, config: &SdkConfig, screen: &mut Screen, json: bool) -> Done {
    let client = aws_sdk_sns::Client::new(config);
    let (mut messages, mut not_published) = (vec![], vec![]);
    for batch in order.entities.chunks(MOST_ENTITIES) {
        let entities: Vec<String> = batch.iter().map(|entity| entity.named.to_string()).collect();
        let what = format!("{} {}", order.action, counted(&entities));
        match send(&client, order, batch, secret, &what).await {
            Ok(message_id) => {
                let text = format!("Published: {what}, message {message_id}");
                if json {
                    screen.say(&text)
                } else {
                    screen.show(&text)
                }
                messages.push(Message { message_id, entities });
            }
            Err(Trouble { exit, text: error }) => {
                screen.say(&format!("error: NOT published: {what}: {error}"));
                not_published.push(NotPublished { entities, error, exit });
            }
        }
    }
    Done {
        topic_arn: order.topic.clone(),
        action: order.action,
        messages,
        not_published,
        results: None,
    }
}

fn counted(entities: &[String]) -> String {
    match entities {
        [one] => one.clone(),
        several => format!("{} entities", several.len()),
    }
}

async fn send(
    client: &aws_sdk_sns::Client,
    order: &Order,
    batch: &[Entity],
    secret: &ExternalId,
    what: &str,
) -> Result<String, Trouble> {
    // The body is for people who look at the message; the function reads attributes alone.
    let mut call = client
        .publish()
        .topic_arn(&order.topic)
        .message(format!("entity-lockdown: {what}"));
    for (name, (kind, value)) in attributes(order, batch, secret) {
        let value = MessageAttributeValue::builder()
            .data_type(kind)
            .string_value(value)
            .build();
        let value = value.map_err(|_| Trouble::failed(format!("the attribute {name} can't be made")))?;
        call = call.message_attributes(name, value);
    }
    let answer = call
        .send()
        .await
        .map_err(|error| explain(&Failure::of("sns:Publish", &order.topic, "your own", &error)))?;
    answer
        .message_id
        .ok_or_else(|| Trouble::out_of_reach("SNS answered without a message id: look for the notices"))
}

fn watches(order: &Order, messages: &[Message]) -> Vec<Watch> {
    let batches = order.entities.chunks(MOST_ENTITIES);
    let message_of = |batch: &[Entity]| {
        let first = batch.first().map(|entity| entity.named.to_string());
        messages
            .iter()
            .find(|message| message.entities.first() == first.as_ref())
            .map(|message| message.message_id.clone())
    };
    batches
        .filter_map(|batch| message_of(batch).map(|message| (batch, message)))
        .flat_map(|(batch, message)| {
            batch
                .iter()
                .map(move |entity| Watch::new(entity.clone(), message.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    const TOPIC: &str = "arn:aws:sns:eu-central-1:111111111111:requests";
    const USER: &str = "arn:aws:iam::222222222222:user/alice";

    fn parsed(more: &[&str]) -> Result<Args, String> {
        let line = ["publish", "--topic-arn", TOPIC].iter().chain(more);
        Line::try_parse_from(line)
            .map(|line| line.args)
            .map_err(|error| error.to_string())
    }

    fn ordered(more: &[&str]) -> Result<Order, String> {
        parsed(more).and_then(|args| order(&args).map_err(|trouble| trouble.to_string()))
    }

    fn secret() -> ExternalId {
        secret::find(None, Some("hunter2-hunter2")).expect("a secret")
    }

    #[test]
    fn the_line_of_a_notice_is_understood() {
        let order = ordered(&["--action", "release", "--entity-arn", USER]).expect("an order");
        assert_eq!(
            (order.action, order.region.as_str(), order.entities.len()),
            (Action::Release, "eu-central-1", 1)
        );
        assert!(order.wait.is_none() && order.claims.is_empty());
    }

    #[test]
    fn every_attribute_of_the_contract_is_sent_under_its_name() {
        let more = [
            "--entity-arn",
            USER,
            "--action",
            "release",
            "--reason",
            "r",
            "--incident-id",
            "i",
            "--requested-by",
            "b",
            "--force",
            "--reactivate-keys",
        ];
        let order = ordered(&more).expect("an order");
        let found = attributes(&order, &order.entities, &secret());
        let text = |value: &str| ("String", value.to_owned());
        assert_eq!(
            found,
            BTreeMap::from([
                ("Action", text("release")),
                ("Arn", text(USER)),
                ("ExternalId", text("hunter2-hunter2")),
                ("Force", text("true")),
                ("IncidentId", text("i")),
                ("ReactivateKeys", text("true")),
                ("Reason", text("r")),
                ("RequestedBy", text("b")),
            ])
        );
    }

    #[test]
    fn more_entities_than_a_message_takes_go_in_batches_and_each_entity_goes_once() {
        let mut arns: Vec<String> = (0..51)
            .map(|n| format!("arn:aws:iam::222222222222:user/u{n}"))
            .collect();
        arns.push("arn:aws:iam::222222222222:user/path/U0".to_owned());
        let mut line = vec!["--entity-arn"];
        line.extend(arns.iter().map(String::as_str));
        let order = ordered(&line).expect("an order");
        let batches: Vec<_> = order
            .entities
            .chunks(MOST_ENTITIES)
            .map(|batch| attributes(&order, batch, &secret()))
            .collect();
        let kinds: Vec<&str> = batches.iter().map(|batch| batch["Arn"].0).collect();
        assert_eq!(kinds, ["String.Array", "String.Array", "String"]);
        let list: Vec<String> = serde_json::from_str(&batches[1]["Arn"].1).expect("a list");
        assert_eq!(
            (list.len(), list[0].as_str()),
            (25, "arn:aws:iam::222222222222:user/u25")
        );
    }

    #[test]
    fn only_what_was_published_is_followed() {
        let arns: Vec<String> = (0..30)
            .map(|n| format!("arn:aws:iam::222222222222:user/u{n}"))
            .collect();
        let mut line = vec!["--entity-arn"];
        line.extend(arns.iter().map(String::as_str));
        let order = ordered(&line).expect("an order");
        let messages = [Message {
            message_id: "m2".to_owned(),
            entities: arns.iter().skip(25).cloned().collect(),
        }];
        let watches = watches(&order, &messages);
        assert_eq!(watches.len(), 5);
        assert!(watches.iter().all(|watch| watch.message == "m2"));
    }

    #[test]
    fn what_makes_no_sense_is_said_before_anything_is_published() {
        for (more, part) in [
            (vec![], "--entity-arn"),
            (vec!["--entity-arn", "alice", "arn:aws:s3:::b"], "`arn:aws:s3:::b`"),
            (vec!["--entity-arn", "alice"], "Accepted are"),
            (
                vec!["--entity-arn", "arn:aws-cn:iam::222222222222:user/alice"],
                "hub of its own",
            ),
            (
                vec!["--entity-arn", USER, "--action", "destroy"],
                "contain, release, plan",
            ),
            (
                vec!["--entity-arn", USER, "--action", "plan", "--wait", "--table", "t"],
                "by mail alone",
            ),
            (vec!["--entity-arn", USER, "--wait"], "LOCKDOWN_TABLE"),
            (vec!["--entity-arn", USER, "--force"], "--action release"),
            (vec!["--entity-arn", USER, "--reason", ""], "empty"),
            (vec!["--entity-arn", USER, "--reason", "a\nb"], "control characters"),
            (vec!["--entity-arn", USER, "--region", "nowhere"], "region"),
            (
                vec!["--entity-arn", USER, "--external-id", "hunter2"],
                "unexpected argument",
            ),
        ] {
            let said = ordered(&more).expect_err("a refusal");
            assert!(said.contains(part), "{more:?}: {said}");
        }
        assert!(topic("arn:aws:sqs:us-east-1:111111111111:q").is_err());
        assert!(topic("arn:aws:sns:us-east-1:111111111111:t:subscription").is_err());
    }

    #[test]
    fn nothing_that_could_be_printed_for_debugging_holds_the_secret() {
        let secret = secret();
        let order = ordered(&["--entity-arn", USER]).expect("an order");
        let printed = format!("{:?} {:?} {secret:?}", parsed(&["--entity-arn", USER]), order);
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
