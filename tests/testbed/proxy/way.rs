//! The way of a call: recorded, judged and checked (EC2, Auto Scaling, SNS), hit by rules, forwarded, its answer completed.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::AnyError;
use crate::answer::{self, Refusal};
use crate::auto_scaling;
use crate::call::Call;
use crate::control::control;
use crate::ec2;
use crate::facts::Facts;
use crate::instance_attribute;
use crate::judge::Judge;
use crate::network_acl;
use crate::network_interface;
use crate::record::Record;
use crate::rules::{Fault, Rules};
use crate::sessions::{Caller, Sessions};
use crate::sns;
use crate::upstream::{Answer, Upstream};

/// All that the proxy holds.
pub struct Proxy {
    aws: Upstream,
    ec2: Upstream,
    sessions: Sessions,
    judge: Judge,
    /// Counting an ACL's entries and adding one must be one act, or two calls at once would exceed the quota.
    entries: tokio::sync::Mutex<()>,
    /// Faults asked for.
    pub rules: Rules,
    /// Calls so far.
    pub record: Record,
}

/// The connection is closed without an answer, as a test asked or because an emulator can't be reached.
#[derive(Debug)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// How often a call that is held looks whether its rule still stands.
const HELD_LOOK: Duration = Duration::from_millis(10);

/// How a call ended.
struct Outcome {
    by: &'static str,
    /// The rule that keeps the call before it is closed.
    held_by: Option<u64>,
    /// None: the connection is closed without an answer.
    answer: Option<Answer>,
}

impl Outcome {
    fn refused(by: &'static str, call: &Call, refusal: &Refusal) -> Self {
        Self {
            by,
            held_by: None,
            answer: Some(answer::refuse(call, refusal)),
        }
    }
}

impl Proxy {
    /// A proxy in front of two emulators.
    pub fn new(aws: Upstream, ec2: Upstream) -> Self {
        Self {
            aws,
            ec2,
            sessions: Sessions::default(),
            judge: Judge::default(),
            entries: tokio::sync::Mutex::default(),
            rules: Rules::default(),
            record: Record::default(),
        }
    }

    /// Answers one request that came from a port; an error closes the connection.
    pub async fn handle(&self, request: Request<Incoming>, port: u16) -> Result<Response<Full<Bytes>>, Closed> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        if parts.uri.path().starts_with("/_proxy/") {
            let query = parts.uri.query().unwrap_or_default();
            return Ok(control(self, parts.method.as_str(), parts.uri.path(), query, &body).map(Full::new));
        }
        let call = Call::read(&parts, &body);
        let mut caller = self.sessions.caller(&call.access_key);
        if caller.is_none() && is_motos(&call.service) {
            caller = self
                .sessions
                .ask(&call.access_key, &call.region, &self.aws)
                .await
                .map_err(|_| Closed)?;
        }
        let (account, principal) = caller.clone().map(|caller| (caller.account, caller.arn)).unzip();
        let seq = self.record.open(&call, account, principal);
        let outcome = match self.outcome(parts, body, &call, caller.as_ref(), port).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.record.close(seq, "error", None, Some(error.to_string()));
                return Err(Closed);
            }
        };
        let status = outcome.answer.as_ref().map(|answer| answer.status().as_u16());
        let code = outcome.answer.as_ref().and_then(answer::error_code);
        self.record.close(seq, outcome.by, status, code);
        if let Some(rule) = outcome.held_by {
            self.hold(rule, port).await;
            return Err(Closed);
        }
        Ok(outcome.answer.ok_or(Closed)?.map(Full::new))
    }

    /// Waits until a rule is removed. A caller that is gone ends this too: its connection's task is dropped.
    async fn hold(&self, rule: u64, port: u16) {
        self.rules.holds(rule, port);
        while self.rules.stands(rule) {
            tokio::time::sleep(HELD_LOOK).await;
        }
    }

    async fn outcome(
        &self,
        parts: Parts,
        body: Bytes,
        call: &Call,
        caller: Option<&Caller>,
        port: u16,
    ) -> Result<Outcome, AnyError> {
        if let Some(outcome) = self.refusal(call, caller).await? {
            return Ok(outcome);
        }
        let (mut cut_after, mut held_by) = (false, None);
        for rule in self.rules.hits(call, caller.map(|caller| caller.arn.as_str())) {
            let answer = match rule.fault {
                Fault::Delay => {
                    tokio::time::sleep(Duration::from_millis(rule.ms)).await;
                    continue;
                }
                Fault::CutAfter => {
                    cut_after = true;
                    continue;
                }
                Fault::HoldAfter => {
                    held_by = Some(rule.id);
                    continue;
                }
                Fault::RequesterManaged
                | Fault::InterfaceType
                | Fault::InstanceState
                | Fault::LifecycleState
                | Fault::AclQuota => continue,
                Fault::Cut => None,
                Fault::Hold => {
                    self.hold(rule.id, port).await;
                    None
                }
                Fault::Lose => Some(answer::pretend(call, rule.body.as_deref())),
                Fault::Throttle => Some(answer::refuse(call, &answer::throttled(call))),
                Fault::Refuse => Some(answer::refuse(
                    call,
                    &Refusal {
                        status: rule.status.unwrap_or(400),
                        code: rule.code.unwrap_or_else(|| "AccessDenied".to_owned()),
                        message: rule
                            .message
                            .unwrap_or_else(|| "Refused by a rule of the test.".to_owned()),
                    },
                )),
            };
            return Ok(Outcome {
                by: "rule",
                held_by: None,
                answer,
            });
        }
        let _one_at_a_time = if call.action == "CreateNetworkAclEntry" {
            Some(self.entries.lock().await)
        } else {
            None
        };
        if let Some(refusal) = self.full(call, caller).await? {
            return Ok(Outcome::refused("check", call, &refusal));
        }
        let answer = self.forward(parts, body, call).await?;
        Ok(Outcome {
            by: "aws",
            held_by,
            answer: (!cut_after).then_some(answer),
        })
    }

    /// What AWS would refuse before it does anything, and the emulators wouldn't.
    async fn refusal(&self, call: &Call, caller: Option<&Caller>) -> Result<Option<Outcome>, AnyError> {
        let service = call.service.as_str();
        if service == "sns" {
            return Ok(sns::check(call).map(|refusal| Outcome::refused("check", call, &refusal)));
        }
        if !is_motos(service) {
            return Ok(None);
        }
        let Some(caller) = caller else {
            return Ok(Some(Outcome::refused("judge", call, &answer::unknown_caller(call))));
        };
        let facts = self.facts(call, caller);
        if let Some(refusal) = self.judge.judge(call, &facts, &self.aws).await? {
            return Ok(Some(Outcome::refused("judge", call, &refusal)));
        }
        let seen = self.rules.appearances();
        let refusal = match service {
            "autoscaling" => auto_scaling::check(call, &seen),
            _ => ec2::check(call, &facts, &seen).await?,
        };
        Ok(refusal.map(|refusal| Outcome::refused("check", call, &refusal)))
    }

    /// The refusal of an entry that a network ACL has no room for.
    async fn full(&self, call: &Call, caller: Option<&Caller>) -> Result<Option<Refusal>, AnyError> {
        match caller {
            Some(caller) if call.action == "CreateNetworkAclEntry" => {
                network_acl::check_quota(call, &self.facts(call, caller), &self.rules.appearances()).await
            }
            _ => Ok(None),
        }
    }

    fn facts<'a>(&'a self, call: &'a Call, caller: &'a Caller) -> Facts<'a> {
        Facts {
            upstream: &self.ec2,
            caller,
            region: &call.region,
        }
    }

    async fn forward(&self, mut parts: Parts, body: Bytes, call: &Call) -> Result<Answer, AnyError> {
        for name in [EXPECT, TRANSFER_ENCODING, CONNECTION] {
            parts.headers.remove(name);
        }
        let mut answer = if is_motos(&call.service) {
            let (types, body) = match network_interface::without_type_filter(call) {
                Some((types, form)) => {
                    parts.headers.remove(CONTENT_LENGTH);
                    (types, Bytes::from(form))
                }
                None => (Vec::new(), body),
            };
            self.completed(self.ec2.send(parts, body).await?, call, &types)
        } else {
            self.aws.send(parts, body).await?
        };
        if call.action == "AssumeRole" && answer.status().is_success() {
            self.sessions.learn(&answer);
        }
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
            answer.headers_mut().remove(name);
        }
        Ok(answer)
    }

    /// Shows resources as the rules say, and interfaces of the wanted types alone.
    fn completed(&self, answer: Answer, call: &Call, types: &[String]) -> Answer {
        let seen = self.rules.appearances();
        let change = |xml: &str| match call.action.as_str() {
            "DescribeNetworkInterfaces" => network_interface::described(xml, &seen, types),
            "DescribeInstances" => network_interface::with_types(&instance_attribute::with_states(xml, &seen), &seen),
            "DescribeAutoScalingInstances" | "DescribeAutoScalingGroups" => auto_scaling::with_states(xml, &seen),
            _ => xml.to_owned(),
        };
        answer.map(|body| Bytes::from(change(&String::from_utf8_lossy(&body))))
    }
}

/// Whether moto answers for a service.
fn is_motos(service: &str) -> bool {
    ["ec2", "autoscaling"].contains(&service)
}
