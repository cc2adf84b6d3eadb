//! Whether the caller's policies allow a call of EC2 or Auto Scaling, which moto doesn't ask: ministack's
//! `SimulatePrincipalPolicy` answers for the very credential, on the resources and context keys in `demands.rs`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::AnyError;
use crate::answer::{self, Refusal};
use crate::call::Call;
use crate::demands::{Demand, demands};
use crate::facts::Facts;
use crate::upstream::Upstream;
use crate::xml;

/// Long enough to spare the questions of one containment, short enough for a test that changes a policy.
const CACHE: Duration = Duration::from_millis(500);

/// Context keys with several values.
const LISTS: [&str; 2] = ["aws:TagKeys", "autoscaling:VPCZoneIdentifiers"];

/// Judges, and remembers for a moment.
#[derive(Default)]
pub struct Judge {
    cache: Mutex<HashMap<String, (Instant, String)>>,
}

impl Judge {
    /// The refusal that AWS would give, if it would. A root may do everything.
    pub async fn judge(&self, call: &Call, facts: &Facts<'_>, iam: &Upstream) -> Result<Option<Refusal>, AnyError> {
        if facts.caller.is_root() {
            return Ok(None);
        }
        for demand in demands(call, facts).await? {
            match self.decision(call, &demand, facts, iam).await?.as_str() {
                "allowed" => {}
                "invalid" => return Ok(Some(answer::unknown_caller(call))),
                decision => return Ok(Some(denial(call, facts, &demand, decision == "explicitDeny"))),
            }
        }
        Ok(None)
    }

    async fn decision(
        &self,
        call: &Call,
        demand: &Demand,
        facts: &Facts<'_>,
        iam: &Upstream,
    ) -> Result<String, AnyError> {
        let form = question(call, facts, demand);
        let key = format!("{} {}", facts.region, crate::form::encode(&form));
        let known = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some((_, decision)) = known.filter(|(at, _)| at.elapsed() < CACHE) {
            return Ok(decision);
        }
        let answer = iam.ask(&facts.caller.account, facts.region, "iam", &form).await?;
        let decision = xml::text(&answer, "EvalDecision")
            .ok_or_else(|| format!("no decision in: {answer}"))?
            .to_owned();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(key, (Instant::now(), decision.clone()));
        Ok(decision)
    }
}

/// A denial in the service's own words.
fn denial(call: &Call, facts: &Facts<'_>, demand: &Demand, explicitly: bool) -> Refusal {
    let because = if explicitly {
        "with an explicit deny"
    } else {
        "because no policy allows it"
    };
    let message = format!(
        "User: {} is not authorized to perform: {} on resource: {} {because}",
        facts.caller.arn, demand.action, demand.resource
    );
    let (code, message) = match call.service.as_str() {
        "ec2" => (
            "UnauthorizedOperation",
            format!("You are not authorized to perform this operation. {message}"),
        ),
        _ => ("AccessDenied", message),
    };
    Refusal {
        status: 403,
        code: code.to_owned(),
        message,
    }
}

fn question(call: &Call, facts: &Facts<'_>, demand: &Demand) -> Vec<(String, String)> {
    let mut form = vec![
        ("Action".to_owned(), "SimulatePrincipalPolicy".to_owned()),
        ("Version".to_owned(), "2010-05-08".to_owned()),
        ("PolicySourceArn".to_owned(), facts.caller.arn.clone()),
        ("CallerAccessKeyId".to_owned(), call.access_key.clone()),
        ("ActionNames.member.1".to_owned(), demand.action.clone()),
        ("ResourceArns.member.1".to_owned(), demand.resource.clone()),
    ];
    for (number, (name, values)) in (1..).zip(&demand.context) {
        let entry = format!("ContextEntries.member.{number}");
        let kind = if LISTS.contains(&name.as_str()) {
            "stringList"
        } else {
            "string"
        };
        form.push((format!("{entry}.ContextKeyName"), name.clone()));
        form.push((format!("{entry}.ContextKeyType"), kind.to_owned()));
        for (number, value) in (1..).zip(values) {
            form.push((format!("{entry}.ContextKeyValues.member.{number}"), value.clone()));
        }
    }
    form
}
