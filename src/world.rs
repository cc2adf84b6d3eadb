//! For unit tests: an account with one IAM user, and two functions with one role, answered in the process, in which the work can be
//! cut off at any call.
//!
//! Not a replacement for the test bed: it knows only what these tests ask for, and refuses everything else.

mod functions;
mod histories;
mod overlaps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::aws::Accounts;
use crate::handler::{Deps, HandlerError, handle};
use crate::journal::Journal;
use crate::moment::Moment;
use crate::notice::Publisher;
use crate::settings::tests::settings;
use crate::wake::Wakeups;

const DENY_ALL: &str = "arn:aws:iam::aws:policy/AWSDenyAll";

/// Where the process dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Before(usize),
    After(usize),
}

/// The account, and what was asked of it.
#[derive(Debug, Default)]
struct State {
    attached: Vec<String>,
    inline: BTreeMap<String, String>,
    calls: Vec<String>,
    stages: Vec<String>,
    role: RolePolicies,
    /// What is reserved for each function.
    reserved: BTreeMap<String, i64>,
    refuse: BTreeMap<&'static str, &'static str>,
    cut: Option<Cut>,
}

/// The policies of the functions' role; those of the user are the state's own.
#[derive(Debug, Clone, Default, PartialEq)]
struct RolePolicies {
    attached: Vec<String>,
    inline: BTreeMap<String, String>,
}

/// The world of a test.
#[derive(Debug, Clone, Default)]
struct World {
    state: Arc<Mutex<State>>,
    died: Arc<Notify>,
}

impl World {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A process of the function with this journal.
    async fn process(&self, journal: Journal) -> Deps {
        let connector = SharedHttpConnector::new(self.clone());
        let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(client)
            .region("us-east-1")
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "AKIA", "key", None, None, "test",
            )))
            .load()
            .await;
        let settings = settings();
        let accounts = Accounts::new(config.clone(), &settings.member_role, settings.hub());
        let publisher = Publisher::new(aws_sdk_sns::Client::new(&config), &settings);
        let wakeups = Wakeups::new(aws_sdk_sqs::Client::new(&config), &settings.wake_queue, "111111111111");
        Deps::new(settings, accounts, journal, publisher, wakeups, "test".to_owned())
    }

    /// Hands a message to the function; `None`: it died at the cut.
    async fn deliver(&self, deps: &Deps, action: &str, id: &str, second: u64) -> Option<Result<(), HandlerError>> {
        let arn = json!({"Type": "String", "Value": "arn:aws:iam::222222222222:user/alice"});
        self.deliver_for(deps, action, id, second, arn).await
    }

    /// The same for whatever the message attribute `Arn` names.
    async fn deliver_for(
        &self,
        deps: &Deps,
        action: &str,
        id: &str,
        second: u64,
        arn: Value,
    ) -> Option<Result<(), HandlerError>> {
        let text = |value: &str| json!({"Type": "String", "Value": value});
        let sent = format!("2026-11-22T00:00:{second:02}Z");
        let event = json!({"Records": [{"Sns": {"MessageId": id, "TopicArn": "arn:aws:sns:us-east-1:111111111111:r",
            "Timestamp": sent, "MessageAttributes": {"Arn": arn,
            "ExternalId": text("correct-horse"), "Action": text(action)}}}]});
        tokio::select! {
            outcome = handle(event, Moment::now().plus_seconds(900), deps) => Some(outcome),
            () = self.died.notified() => None,
        }
    }

    fn answer(state: &mut State, action: &str, parameters: &BTreeMap<String, String>) -> Result<String, &'static str> {
        let parameter = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        if let Some(code) = state.refuse.get(action) {
            return Err(code);
        }
        let (attached, inline) = if action.contains("Role") {
            (&mut state.role.attached, &mut state.role.inline)
        } else {
            (&mut state.attached, &mut state.inline)
        };
        match action {
            "AssumeRole" => Ok(
                "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>\
                 <SessionToken>T</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
                    .to_owned(),
            ),
            "GetUser" => Ok("<User><Path>/</Path><UserName>alice</UserName><UserId>AIDA1</UserId>\
                 <Arn>arn:aws:iam::222222222222:user/alice</Arn><CreateDate>2020-01-01T00:00:00Z</CreateDate></User>"
                .to_owned()),
            "GetRole" if parameter("RoleName") == functions::ROLE_NAME => Ok(functions::role()),
            "ListAttachedUserPolicies" | "ListAttachedRolePolicies" => {
                let member =
                    |arn: &String| format!("<member><PolicyName>p</PolicyName><PolicyArn>{arn}</PolicyArn></member>");
                let members: String = attached.iter().map(member).collect();
                Ok(format!(
                    "<IsTruncated>false</IsTruncated><AttachedPolicies>{members}</AttachedPolicies>"
                ))
            }
            "AttachUserPolicy" | "AttachRolePolicy" => {
                let arn = parameter("PolicyArn");
                if !attached.contains(&arn) {
                    attached.push(arn);
                }
                Ok(String::new())
            }
            "DetachUserPolicy" | "DetachRolePolicy" => {
                let before = attached.len();
                attached.retain(|arn| *arn != parameter("PolicyArn"));
                if attached.len() == before {
                    Err("NoSuchEntity")
                } else {
                    Ok(String::new())
                }
            }
            "GetUserPolicy" | "GetRolePolicy" => {
                let name = parameter("PolicyName");
                let document = inline.get(&name).ok_or("NoSuchEntity")?;
                Ok(format!(
                    "<UserName>alice</UserName><RoleName>worker</RoleName><PolicyName>{name}</PolicyName><PolicyDocument>{}</PolicyDocument>",
                    document.replace('"', "%22")
                ))
            }
            "PutUserPolicy" | "PutRolePolicy" => {
                inline.insert(parameter("PolicyName"), parameter("PolicyDocument"));
                Ok(String::new())
            }
            "DeleteUserPolicy" | "DeleteRolePolicy" => inline
                .remove(&parameter("PolicyName"))
                .map(|_| String::new())
                .ok_or("NoSuchEntity"),
            "Publish" => {
                let message: Value = serde_json::from_str(&parameter("Message")).unwrap_or_default();
                let report: Value =
                    serde_json::from_str(message["default"].as_str().unwrap_or_default()).unwrap_or_default();
                if parameter("TopicArn").ends_with("audit") {
                    state
                        .stages
                        .push(report["stage"].as_str().unwrap_or_default().to_owned());
                }
                Ok("<MessageId>1</MessageId>".to_owned())
            }
            _ => Err("NotInThisWorld"),
        }
    }
}

impl HttpConnector for World {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        let parameters: BTreeMap<String, String> = pairs.map(|(name, value)| (decode(name), decode(value))).collect();
        let path = request.uri().split_once("//").map_or("", |(_, rest)| rest);
        let path = path.split_once('/').map_or("", |(_, path)| path).to_owned();
        let of_lambda = functions::call(request.method(), &path);
        let action = of_lambda
            .clone()
            .or_else(|| parameters.get("Action").cloned())
            .unwrap_or_default();
        let (outcome, number, cut) = self.with(|state| {
            state.calls.push(action.clone());
            let number = state.calls.len();
            if state.cut == Some(Cut::Before(number)) {
                return (Err("Died"), number, state.cut);
            }
            let answer = match &of_lambda {
                Some(call) => functions::answer(state, call, &body),
                None => Self::answer(state, &action, &parameters),
            };
            (answer, number, state.cut)
        });
        if matches!(cut, Some(Cut::Before(at) | Cut::After(at)) if at == number) {
            self.died.notify_one();
            return HttpConnectorFuture::new(std::future::pending());
        }
        let (status, text) = match outcome {
            Ok(json) if of_lambda.is_some() => (200, json),
            Ok(result) => (
                200,
                format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"),
            ),
            Err(code) => (
                400,
                format!("<ErrorResponse><Error><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"),
            ),
        };
        let response = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(text));
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// Runs one containment and one release, cut off at one call of either, and says how many calls there were.
async fn cut_off_and_resumed(cut_contain: Option<Cut>, cut_release: Option<Cut>, refused: bool) -> (usize, usize) {
    let world = World::default();
    if refused {
        world.with(|state| state.refuse.insert("AttachUserPolicy", "LimitExceeded"));
    }
    let mut deps = world
        .process(Journal::Memory(crate::journal::memory::Memory::default()))
        .await;
    let mut counts = Vec::new();
    for (action, id, second, cut) in [("contain", "m1", 1, cut_contain), ("release", "m2", 2, cut_release)] {
        world.with(|state| (state.calls.clear(), state.cut = cut));
        let outcome = world.deliver(&deps, action, id, second).await;
        counts.push(world.with(|state| state.calls.len()));
        assert_eq!(outcome.is_none(), cut.is_some(), "{action} {cut:?}");
        if outcome.is_none() {
            // Another process gets the message again, after the lease of the first one has lapsed.
            world.with(|state| state.cut = None);
            Moment::advance(31_000);
            deps = world.process(deps.journal).await;
            let again = world.deliver(&deps, action, id, second).await;
            assert!(matches!(again, Some(Ok(()))), "{action} {cut:?}: {again:?}");
        }
        let denied = world.with(|state| state.attached.contains(&DENY_ALL.to_owned()) || !state.inline.is_empty());
        assert_eq!(denied, action == "contain", "after {action} {cut:?}");
    }
    let stages = world.with(|state| state.stages.clone());
    for wanted in ["Contained", "Released"] {
        assert!(
            stages.contains(&wanted.to_owned()),
            "{cut_contain:?} {cut_release:?}: {stages:?}"
        );
    }
    let stored = deps
        .journal
        .load("aws/222222222222/-/iam-user/alice")
        .await
        .expect("a journal")
        .expect("a record");
    assert!(!stored.record.is_open() && stored.lease.is_none(), "{stored:?}");
    (counts[0], counts[1])
}

#[tokio::test]
async fn a_process_that_dies_at_any_call_leaves_what_the_next_one_finishes() {
    for refused in [false, true] {
        let (contain, release) = cut_off_and_resumed(None, None, refused).await;
        assert!(contain >= 5 && release >= 5, "{contain} {release}");
        for at in 1..=contain {
            for cut in [Cut::Before(at), Cut::After(at)] {
                cut_off_and_resumed(Some(cut), None, refused).await;
            }
        }
        for at in 1..=release {
            for cut in [Cut::Before(at), Cut::After(at)] {
                cut_off_and_resumed(None, Some(cut), refused).await;
            }
        }
    }
}

#[tokio::test]
async fn a_late_copy_neither_locks_nor_opens() {
    let world = World::default();
    let deps = world
        .process(Journal::Memory(crate::journal::memory::Memory::default()))
        .await;
    for (action, id, second) in [
        ("contain", "m2", 2),
        ("release", "m3", 3),
        ("contain", "m2", 2),
        ("contain", "m1", 1),
    ] {
        assert!(matches!(world.deliver(&deps, action, id, second).await, Some(Ok(()))));
    }
    assert_eq!(world.with(|state| state.attached.clone()), Vec::<String>::new());
    assert_eq!(
        world.with(|state| state.stages.clone()),
        ["Started", "Contained", "Released", "Refused"]
    );
}

#[tokio::test]
async fn a_quota_that_can_not_be_read_counts_as_not_full() {
    let world = World::default();
    let policies = (0..10).map(|n| format!("arn:aws:iam::222222222222:policy/p{n}"));
    world.with(|state| state.attached = policies.collect());
    let deps = world
        .process(Journal::Memory(crate::journal::memory::Memory::default()))
        .await;
    assert!(matches!(world.deliver(&deps, "contain", "m1", 1).await, Some(Ok(()))));
    let asked = world.with(|state| state.calls.contains(&"GetAccountSummary".to_owned()));
    let denied = world.with(|state| state.attached.contains(&DENY_ALL.to_owned()));
    assert!(asked && denied, "{world:?}");
}

/// Hands over one message that names these ARNs; the calls that it led to are in the world.
async fn deliver_several(action: &str, arns: &[&str]) -> World {
    let world = World::default();
    let deps = world
        .process(Journal::Memory(crate::journal::memory::Memory::default()))
        .await;
    let list = json!({"Type": "String.Array", "Value": json!(arns).to_string()});
    let handled = world.deliver_for(&deps, action, "m1", 1, list).await;
    assert!(matches!(handled, Some(Ok(()))), "{handled:?}");
    world
}

#[tokio::test]
async fn an_arn_under_a_wrong_path_swallows_no_right_one() {
    for arns in [
        [
            "arn:aws:iam::222222222222:user/div/alice",
            "arn:aws:iam::222222222222:user/alice",
        ],
        [
            "arn:aws:iam::222222222222:user/div/ALICE",
            "arn:aws:iam::222222222222:user/ALICE",
        ],
    ] {
        let world = deliver_several("contain", &arns).await;
        let stages = world.with(|state| state.stages.clone());
        assert_eq!(stages, ["Refused", "Started", "Contained"], "{arns:?}");
    }
    let twice = ["arn:aws:iam::222222222222:user/alice"; 2];
    let stages = deliver_several("contain", &twice)
        .await
        .with(|state| state.stages.clone());
    assert_eq!(stages, ["Started", "Contained"]);
}

#[tokio::test]
async fn what_is_refused_unread_holds_no_work_up() {
    let world = deliver_several("contain", &["nonsense", "arn:aws:iam::222222222222:user/alice"]).await;
    let (calls, stages) = world.with(|state| (state.calls.clone(), state.stages.clone()));
    assert_eq!(calls.first().map(String::as_str), Some("AssumeRole"), "{calls:?}");
    assert!(
        stages.contains(&"Refused".to_owned()) && stages.contains(&"Contained".to_owned()),
        "{stages:?}"
    );
}

#[tokio::test]
async fn a_release_is_refused_in_another_partition_and_for_no_other_reason() {
    let foreign = deliver_several("release", &["arn:aws-cn:iam::222222222222:user/alice"]).await;
    assert_eq!(foreign.with(|state| state.stages.clone()), ["Refused"]);
    let protected = deliver_several("release", &["arn:aws:iam::222222222222:user/responder"]).await;
    assert_eq!(protected.with(|state| state.stages.clone()), ["Unchanged"]);
}

#[tokio::test]
async fn the_deny_goes_out_before_the_first_notice() {
    let calls = deliver_several("contain", &["arn:aws:iam::222222222222:user/alice"])
        .await
        .with(|state| state.calls.clone());
    let first = |name: &str| calls.iter().position(|call| call == name);
    let (deny, notice) = (first("AttachUserPolicy"), first("Publish"));
    assert!(deny.is_some() && deny < notice, "{calls:?}");
}
