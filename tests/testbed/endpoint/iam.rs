//! STS, IAM, SNS and SQS: every user and role exists, with what was attached to it since.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::call::Call;
use crate::form;
use crate::reply::{self, Outcome, Refused, UNKNOWN};
use crate::xml::escape;

/// The account whose member role is assumed.
pub const ACCOUNT: &str = "222222222222";
/// The role of the instance, and the name of its profile.
pub const ROLE: &str = "bench-role";

const NO_SUCH: Refused = Refused(404, "NoSuchEntity");

/// What was attached and written.
#[derive(Default)]
pub struct Iam {
    attached: BTreeMap<String, BTreeSet<String>>,
    inline: BTreeMap<(String, String), String>,
}

impl Iam {
    /// Answers a call of these services.
    pub fn answer(&mut self, call: &Call) -> Outcome {
        let name = match call.param("UserName") {
            "" => format!("role/{}", call.param("RoleName")),
            user => format!("user/{user}"),
        };
        let inline = || (name.clone(), call.param("PolicyName").to_owned());
        let result = match call.action.as_str() {
            "AssumeRole" => credentials(call.param("RoleArn")),
            "GetUser" => format!("<User>{}</User>", identity("User", "AIDA", call.param("UserName"))),
            "GetRole" => format!("<Role>{}</Role>", identity("Role", "AROA", call.param("RoleName"))),
            "GetInstanceProfile" => format!(
                "<InstanceProfile>{}<Roles><member>{}</member></Roles></InstanceProfile>",
                identity("InstanceProfile", "AIPA", ROLE),
                identity("Role", "AROA", ROLE)
            ),
            "ListAttachedUserPolicies" | "ListAttachedRolePolicies" => self.list(&name),
            "AttachUserPolicy" | "AttachRolePolicy" => {
                let policies = self.attached.entry(name).or_default();
                policies.insert(call.param("PolicyArn").to_owned());
                String::new()
            }
            "PutUserPolicy" | "PutRolePolicy" => {
                self.inline.insert(inline(), call.param("PolicyDocument").to_owned());
                String::new()
            }
            "GetUserPolicy" | "GetRolePolicy" => {
                let document = self.inline.get(&inline()).ok_or(NO_SUCH)?;
                let kind = if name.starts_with("user/") { "User" } else { "Role" };
                format!(
                    "<{kind}Name>{}</{kind}Name><PolicyName>{}</PolicyName><PolicyDocument>{}</PolicyDocument>",
                    escape(call.param(&format!("{kind}Name"))),
                    escape(call.param("PolicyName")),
                    form::escape(document)
                )
            }
            "ListAccessKeys" => "<AccessKeyMetadata/><IsTruncated>false</IsTruncated>".to_owned(),
            "ListUserPolicies" | "ListRolePolicies" => "<PolicyNames/><IsTruncated>false</IsTruncated>".to_owned(),
            "GetAccountSummary" => {
                let quotas = ["AttachedPoliciesPerUserQuota", "AttachedPoliciesPerRoleQuota"];
                let entry = |name: &&str| format!("<entry><key>{name}</key><value>10</value></entry>");
                let entries: String = quotas.iter().map(entry).collect();
                format!("<SummaryMap>{entries}</SummaryMap>")
            }
            "Publish" => "<MessageId>00000000-0000-4000-8000-000000000000</MessageId>".to_owned(),
            _ => return Err(UNKNOWN),
        };
        Ok(reply::query(&call.action, &result))
    }

    fn list(&self, name: &str) -> String {
        let policies = self.attached.get(name).into_iter().flatten();
        let members: String = policies
            .map(|arn| {
                let short = arn.rsplit('/').next().unwrap_or_default();
                format!(
                    "<member><PolicyName>{}</PolicyName><PolicyArn>{}</PolicyArn></member>",
                    escape(short),
                    escape(arn)
                )
            })
            .collect();
        format!("<AttachedPolicies>{members}</AttachedPolicies><IsTruncated>false</IsTruncated>")
    }
}

/// Answers SQS.
pub fn queue(call: &Call) -> Outcome {
    match call.action.as_str() {
        "SendMessage" => Ok(reply::json(
            &json!({"MessageId": "00000000-0000-4000-8000-000000000000", "MD5OfMessageBody": "0"}),
        )),
        _ => Err(UNKNOWN),
    }
}

/// Answers Auto Scaling: the instance is in no group.
pub fn auto_scaling(call: &Call) -> Outcome {
    match call.action.as_str() {
        "DescribeAutoScalingInstances" => Ok(reply::query(&call.action, "<AutoScalingInstances/>")),
        _ => Err(UNKNOWN),
    }
}

fn identity(kind: &str, prefix: &str, name: &str) -> String {
    let resource = match kind {
        "InstanceProfile" => "instance-profile",
        "Role" => "role",
        _ => "user",
    };
    let (id, name) = (name.to_uppercase(), escape(name));
    format!(
        "<Path>/</Path><{kind}Name>{name}</{kind}Name><{kind}Id>{prefix}{id}</{kind}Id>\
         <Arn>arn:aws:iam::{ACCOUNT}:{resource}/{name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>"
    )
}

fn credentials(role: &str) -> String {
    let name = escape(role.rsplit('/').next().unwrap_or_default());
    format!(
        "<Credentials><AccessKeyId>ASIABENCH</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
         <SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>AROABENCH:bench</AssumedRoleId>\
         <Arn>arn:aws:sts::{ACCOUNT}:assumed-role/{name}/bench</Arn></AssumedRoleUser>"
    )
}

/// What a call is about, for the log: whom it names, or the stage that a notice tells.
pub fn about(call: &Call) -> String {
    let entry = |n: u32| format!("MessageAttributes.entry.{n}");
    let stage = (1..)
        .map_while(|n| call.params.get(&format!("{}.Name", entry(n))).map(|name| (n, name)))
        .find(|(_, name)| *name == "Stage");
    let stage = stage.map(|(n, _)| call.param(&format!("{}.Value.StringValue", entry(n))));
    [
        call.param("UserName"),
        call.param("RoleName"),
        stage.unwrap_or_default(),
    ]
    .concat()
}
