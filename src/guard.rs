//! Decides whether an entity, or anything that a plan would change, may be touched at all.
//!
//! It judges `contain` and `plan`, never `release`, of which it looks at the partition alone: what is locked may always be opened
//! again.

use crate::arn::Arn;
use crate::entity::Entity;
use crate::plan::Plan;
use crate::settings::Settings;

/// A refusal with its reason, for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Judges the entity as it was named, before anything is read.
pub fn judge_name(entity: &Entity, settings: &Settings) -> Result<(), Refusal> {
    judge_partition(entity, settings)?;
    judge_arn(&entity.named, settings)
}

/// Judges whether this deployment can reach the entity at all: the one thing that a release is judged by.
pub fn judge_partition(entity: &Entity, settings: &Settings) -> Result<(), Refusal> {
    if entity.partition != settings.partition() {
        return Err(Refusal(format!(
            "{} is in the partition {}, and this deployment acts in {} alone: use the one of that partition",
            entity.named,
            entity.partition,
            settings.partition()
        )));
    }
    Ok(())
}

/// Judges everything that a plan would change, by canonical ARNs.
pub fn judge_plan(plan: &Plan, settings: &Settings) -> Result<(), Refusal> {
    judge_arn(&plan.entity, settings)?;
    for touched in plan.touches() {
        judge_arn(&touched, settings).map_err(|Refusal(reason)| {
            let through = touched != plan.entity;
            Refusal(if through {
                format!("containing {} would change {touched}: {reason}", plan.entity)
            } else {
                reason
            })
        })?;
    }
    Ok(())
}

fn judge_arn(arn: &Arn, settings: &Settings) -> Result<(), Refusal> {
    let role = arn.service == "iam" && arn.resource.starts_with("role/");
    if role {
        judge_role(arn, settings)?;
    }
    if arn.service == "sts" {
        // A session stands for its role, whose path is not known yet: the second judgement sees the role itself.
        let name = arn.resource.split('/').nth(1).unwrap_or_default();
        judge_own_role(arn, name, settings)?;
    }
    let own_function = arn.service == "lambda"
        && arn.account == *settings.hub()
        && arn.resource.split(':').nth(1) == Some(settings.function_name.as_str())
        && settings
            .region
            .as_ref()
            .is_none_or(|region| arn.region.as_ref() == Some(region));
    if own_function {
        return Err(Refusal(format!(
            "{arn} is the function that does the containment: it never locks itself"
        )));
    }
    let text = arn.to_string();
    match settings
        .protected
        .iter()
        .find(|pattern| matches(pattern, &text, arn.service == "iam"))
    {
        Some(pattern) => Err(Refusal(format!(
            "{arn} is protected by the pattern `{pattern}` of ProtectedArns"
        ))),
        None => Ok(()),
    }
}

fn judge_role(arn: &Arn, settings: &Settings) -> Result<(), Refusal> {
    let path = arn.resource.trim_start_matches("role");
    if path.starts_with("/aws-reserved/sso.amazonaws.com/") {
        return Err(Refusal(format!(
            "{arn} belongs to IAM Identity Center and can't be changed in IAM. Do this there instead: disable the user's access \
             in IAM Identity Center, end the user's active sessions, and, to stop sessions of this role that run already, attach \
             a deny to the permission set's inline policy and provision it to account {} again",
            arn.account
        )));
    }
    if path.starts_with("/aws-service-role/") || path.starts_with("/aws-reserved/") {
        return Err(Refusal(format!(
            "{arn} is a role of AWS itself (a service-linked or reserved role): IAM does not let anybody change it"
        )));
    }
    judge_own_role(arn, path.rsplit('/').next().unwrap_or_default(), settings)
}

fn judge_own_role(arn: &Arn, name: &str, settings: &Settings) -> Result<(), Refusal> {
    let function_role = settings.function_role.resource.rsplit('/').next().unwrap_or_default();
    let own = name.eq_ignore_ascii_case(&settings.member_role)
        || (arn.account == *settings.hub() && name.eq_ignore_ascii_case(function_role));
    if own {
        return Err(Refusal(format!(
            "{arn} is a role of this product: locking it would lock the responders out"
        )));
    }
    Ok(())
}

/// Whether a pattern, in which `*` stands for any characters, matches a whole text.
pub fn matches(pattern: &str, text: &str, ignore_case: bool) -> bool {
    let fold = |text: &str| {
        if ignore_case {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    let (pattern, text) = (fold(pattern), fold(text));
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    fn refusal(arn: &str) -> Option<String> {
        judge_name(&arn.parse().expect("an entity"), &settings())
            .err()
            .map(|refusal| refusal.0)
    }

    #[test]
    fn an_ordinary_entity_passes() {
        for arn in [
            "arn:aws:iam::222222222222:user/alice",
            "arn:aws:iam::222222222222:role/service-role/r1",
            "arn:aws:iam::222222222222:role/entity-lockdown-function",
            "arn:aws:lambda:us-east-1:222222222222:function:entity-lockdown",
            "arn:aws:ec2:us-east-1:111111111111:instance/i-0123456789abcdef0",
        ] {
            assert_eq!(refusal(arn), None, "{arn}");
        }
    }

    #[test]
    fn what_must_never_be_touched_is_refused_with_its_reason() {
        for (arn, reason) in [
            ("arn:aws-cn:iam::222222222222:user/alice", "partition"),
            (
                "arn:aws:iam::111111111111:role/entity-lockdown-function",
                "role of this product",
            ),
            (
                "arn:aws:iam::111111111111:role/some/path/Entity-Lockdown-Function",
                "role of this product",
            ),
            (
                "arn:aws:iam::333333333333:role/EntityLockdownMemberRole",
                "role of this product",
            ),
            (
                "arn:aws:sts::333333333333:assumed-role/entitylockdownmemberrole/s",
                "role of this product",
            ),
            (
                "arn:aws:sts::111111111111:assumed-role/entity-lockdown-function/s",
                "role of this product",
            ),
            (
                "arn:aws:iam::222222222222:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
                "role of AWS",
            ),
            ("arn:aws:iam::222222222222:role/aws-reserved/x/r", "role of AWS"),
            (
                "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com/eu-central-1/AWSReservedSSO_Admin_1",
                "permission set",
            ),
            (
                "arn:aws:lambda:us-east-1:111111111111:function:entity-lockdown:live",
                "never locks itself",
            ),
            ("arn:aws:iam::222222222222:role/break-glass-1", "ProtectedArns"),
            ("arn:aws:iam::222222222222:user/Responder", "ProtectedArns"),
        ] {
            let said = refusal(arn).unwrap_or_default();
            assert!(said.contains(reason), "{arn}: {said:?}");
        }
    }

    #[test]
    fn our_own_function_is_known_by_its_region_too_where_that_is_known() {
        let entity: Entity = "arn:aws:lambda:eu-west-1:111111111111:function:entity-lockdown"
            .parse()
            .expect("an entity");
        for (region, refused) in [(None, true), (Some("eu-west-1"), true), (Some("us-east-1"), false)] {
            let settings = Settings {
                region: region.map(|region| region.parse().expect("a region")),
                ..settings()
            };
            assert_eq!(judge_name(&entity, &settings).is_err(), refused, "{region:?}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_and_everything_else_for_itself() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("*", "", true),
            ("*b*", "abc", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*b", "ab", false),
            ("a.c", "abc", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text, false), expected, "{pattern} {text}");
        }
        assert!(matches("arn:*:role/Break*", "arn:aws:iam::1:role/BREAKGLASS", true));
    }
}
