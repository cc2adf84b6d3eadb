//! What users and roles have in common: the facts about them, and how they are denied everything.

use aws_sdk_iam::types::SummaryKeyType;
use futures_util::future::try_join;

use crate::arn::Arn;
use crate::aws::{Failure, Member};
use crate::entity::Entity;
use crate::guard::Refusal;
use crate::plan::Planned;
use crate::record::{Record, RecordedStep, StepState};
use crate::settings::Settings;
use crate::steps::attach_policy::{AttachPolicy, Attached, attached_policies};
use crate::steps::boundary::{Boundary, BoundaryState};
use crate::steps::inline_policy::{Denied, InlinePolicy};
use crate::steps::principal::{Principal, PrincipalKind};
use crate::steps::{Permission, Step, written};

/// AWS's default quota of managed policies per user or role; it can only be raised (IAM User Guide, "IAM and STS quotas").
const DEFAULT_QUOTA: usize = 10;

/// What is read of a principal.
pub(crate) const PERMISSIONS: &[Permission] = &[
    Permission {
        action: "iam:GetAccountSummary",
        used_for: "know the quota of managed policies",
    },
    Permission {
        action: "iam:GetRole",
        used_for: "find a role's real ARN, id and boundary",
    },
    Permission {
        action: "iam:GetUser",
        used_for: "find a user's real ARN, id and boundary",
    },
    Permission {
        action: "iam:ListAttachedRolePolicies",
        used_for: "see whether a role is denied already",
    },
    Permission {
        action: "iam:ListAttachedUserPolicies",
        used_for: "see whether a user is denied already",
    },
];

/// The facts about a user or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalFacts {
    /// Who it is, by its canonical ARN and unique id.
    pub principal: Principal,
    /// Whether AWSDenyAll is attached already.
    pub denied: bool,
    /// Whether its quota of managed policies is full.
    pub full: bool,
    /// Its permissions boundary.
    pub boundary: Option<String>,
    /// A role's trust policy as IAM gives it, percent-encoded (RFC 3986).
    pub trust: Option<String>,
}

/// What `GetUser` and `GetRole` tell.
struct Identity {
    principal: Principal,
    boundary: Option<String>,
    trust: Option<String>,
}

/// Reads the facts about the user or role by this name: the calls run side by side.
pub(crate) async fn survey(kind: PrincipalKind, name: &str, member: &Member) -> Result<PrincipalFacts, Failure> {
    let (identity, attached) = try_join(identify(kind, name, member), attached_policies(member, kind, name)).await?;
    let Identity {
        principal,
        boundary,
        trust,
    } = identity;
    let denied = attached.contains(&member.deny_all());
    let full = !denied && attached.len() >= DEFAULT_QUOTA && attached.len() >= quota(kind, member).await;
    Ok(PrincipalFacts {
        principal,
        denied,
        full,
        boundary,
        trust,
    })
}

async fn identify(kind: PrincipalKind, name: &str, member: &Member) -> Result<Identity, Failure> {
    let (found, id, arn, boundary, trust, call) = match kind {
        PrincipalKind::User => {
            let call = "iam:GetUser";
            let answer = member
                .iam
                .get_user()
                .user_name(name)
                .send()
                .await
                .map_err(|error| member.failure(call, name, &error))?;
            let user = answer.user.ok_or_else(|| unreadable(member, call, name))?;
            (
                user.user_name,
                user.user_id,
                user.arn,
                user.permissions_boundary,
                None,
                call,
            )
        }
        PrincipalKind::Role => {
            let call = "iam:GetRole";
            let answer = member
                .iam
                .get_role()
                .role_name(name)
                .send()
                .await
                .map_err(|error| member.failure(call, name, &error))?;
            let role = answer.role.ok_or_else(|| unreadable(member, call, name))?;
            let trust = role.assume_role_policy_document;
            (
                role.role_name,
                role.role_id,
                role.arn,
                role.permissions_boundary,
                trust,
                call,
            )
        }
    };
    let arn: Arn = arn.parse().map_err(|_| unreadable(member, call, name))?;
    Ok(Identity {
        principal: Principal {
            kind,
            name: found,
            arn,
            id,
        },
        boundary: boundary.and_then(|boundary| boundary.permissions_boundary_arn),
        trust,
    })
}

fn unreadable(member: &Member, call: &'static str, name: &str) -> Failure {
    Failure::own(
        call,
        name,
        member.account.as_str(),
        "UnreadableAnswer",
        "the answer lacks the ARN",
    )
}

/// The quota of managed policies. Where it can't be read there is no end to it: IAM refuses the attachment if it is full, and the next
/// means is taken then.
async fn quota(kind: PrincipalKind, member: &Member) -> usize {
    let key = match kind {
        PrincipalKind::User => SummaryKeyType::AttachedPoliciesPerUserQuota,
        PrincipalKind::Role => SummaryKeyType::AttachedPoliciesPerRoleQuota,
    };
    match member.iam.get_account_summary().send().await {
        Ok(answer) => answer
            .summary_map
            .and_then(|map| map.get(&key).copied())
            .and_then(|quota| usize::try_from(quota).ok())
            .unwrap_or(DEFAULT_QUOTA),
        Err(error) => {
            let failure = member.failure("iam:GetAccountSummary", "the account", &error);
            tracing::warn!("taken as not full: {failure}");
            usize::MAX
        }
    }
}

/// Refuses a path that is not the real one: the name alone does not say who is meant.
pub(crate) fn same_path(entity: &Entity, principal: &Principal) -> Result<(), Refusal> {
    let real = principal.arn.resource.split_once('/').map_or("", |(_, rest)| rest);
    let real = format!(
        "/{}",
        real.rsplit_once('/')
            .map_or(String::new(), |(path, _)| format!("{path}/"))
    );
    match &entity.path {
        Some(path) if *path != real => Err(Refusal(format!(
            "{} does not exist under this path: the real ARN is {}. Publish that one if it is meant",
            entity.named, principal.arn
        ))),
        _ => Ok(()),
    }
}

/// The steps that deny a principal everything: AWSDenyAll; where that can't be attached, an inline policy; where that can't be
/// written, a permissions boundary. None, where nothing of it is possible: see [`residue`]. Where attaching has failed for a reason
/// that passes, such as an intruder who calls the same so often that nobody else comes through, the inline policy goes beside it.
pub(crate) fn deny(facts: &PrincipalFacts, phase: u8, settings: &Settings, record: Option<&Record>) -> Vec<Planned> {
    let principal = || facts.principal.clone();
    let attach = AttachPolicy { principal: principal() };
    let before = written(&Attached { attached: facts.denied });
    let attach = Planned::new(phase, attach, Some(before));
    let inline = Planned::new(
        phase,
        InlinePolicy {
            principal: principal(),
            denied: Denied::Everybody,
        },
        None,
    );
    let may_inline = settings.inline_deny && !gave_up(&inline.step, record);
    if facts.denied || !(facts.full || gave_up(&attach.step, record)) {
        let beside = may_inline && !facts.denied && waits(&attach.step, record);
        return std::iter::once(attach).chain(beside.then_some(inline)).collect();
    }
    if may_inline {
        return vec![inline];
    }
    // A boundary that could not be put back is never replaced.
    let former = facts
        .boundary
        .as_deref()
        .filter(|former| !former.ends_with(":aws:policy/AWSDenyAll"));
    if former.is_some_and(|former| !settings.restores_boundary(former)) {
        return vec![];
    }
    let before = written(&BoundaryState {
        boundary: facts.boundary.clone(),
    });
    vec![Planned::new(phase, Boundary { principal: principal() }, Some(before))]
}

fn recorded<'r>(step: &Step, record: Option<&'r Record>) -> Option<&'r RecordedStep> {
    record.and_then(|record| record.steps.iter().find(|recorded| recorded.step.key() == step.key()))
}

/// Whether the record says that a step has failed for a reason that passes.
fn waits(step: &Step, record: Option<&Record>) -> bool {
    recorded(step, record).is_some_and(|recorded| recorded.state == StepState::Failed && recorded.passing)
}

/// Whether the record says that a step can't be made: its quota is full, or the member role may not.
pub(crate) fn gave_up(step: &Step, record: Option<&Record>) -> bool {
    recorded(step, record).is_some_and(|recorded| match recorded.state {
        StepState::Replaced => true,
        StepState::Failed => recorded.is_impossible(),
        StepState::Planned
        | StepState::Applied
        | StepState::Unchanged
        | StepState::Skipped
        | StepState::Undone
        | StepState::Untouched
        | StepState::Kept
        | StepState::Left
        | StepState::Gone => false,
    })
}

/// What stays open where no deny is possible.
pub(crate) fn residue(facts: &PrincipalFacts, steps: &[Planned]) -> Vec<String> {
    if !steps.is_empty() {
        return vec![];
    }
    let former = facts.boundary.as_deref().unwrap_or_default();
    vec![format!(
        "No policy can be added to {}, and its permissions boundary {former} could not be put back after a release, since \
         FormerBoundaries does not name it: nothing denies it. Make room for one policy and publish the message again",
        facts.principal.label()
    )]
}

/// What people should know about how a principal is denied, where it is not the plain way.
pub(crate) fn remarks(facts: &PrincipalFacts, steps: &[Planned], settings: &Settings) -> Vec<String> {
    let mut remarks = Vec::new();
    let label = facts.principal.label();
    match steps.first().map(|planned| &planned.step) {
        Some(Step::AttachPolicy(_)) if steps.len() > 1 => {
            remarks.push(format!(
                "AWSDenyAll could not be attached to {label} at first: an inline policy denies beside it"
            ));
        }
        Some(Step::InlinePolicy(_)) => {
            remarks.push(format!(
                "The quota of managed policies of {label} is full: an inline policy denies instead"
            ));
        }
        Some(Step::Boundary(_)) if settings.inline_deny => {
            remarks.push(format!(
                "No policy can be added to {label}: a permissions boundary denies instead"
            ));
        }
        Some(Step::Boundary(_)) => {
            remarks.push(format!(
                "The quota of managed policies of {label} is full, and InlineDeny is `no`: a permissions boundary denies instead"
            ));
        }
        _ => {}
    }
    remarks
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::admit::tests::request;
    use crate::request::Action;
    use crate::settings::tests::settings;

    /// The facts about an ordinary principal.
    pub(crate) fn facts(kind: PrincipalKind, arn: &str) -> PrincipalFacts {
        let arn: Arn = arn.parse().expect("an ARN");
        let name = arn.resource.rsplit('/').next().unwrap_or_default().to_owned();
        PrincipalFacts {
            principal: Principal {
                kind,
                name,
                arn,
                id: "AIDAEXAMPLE".into(),
            },
            denied: false,
            full: false,
            boundary: None,
            trust: None,
        }
    }

    fn entity(arn: &str) -> Entity {
        arn.parse().expect("an entity")
    }

    #[test]
    fn where_attaching_fails_for_a_while_an_inline_policy_denies_beside_it() {
        let alice = facts(PrincipalKind::User, "arn:aws:iam::222222222222:user/alice");
        let [attach] = deny(&alice, 0, &settings(), None).try_into().expect("one step");
        let asked = request(Action::Contain, "m1", 0);
        let mut record = Record::begin(&asked, asked.message.sent);
        let mut failed = RecordedStep::planned(attach, written(&Attached { attached: false }), asked.message.sent);
        (failed.state, failed.code) = (StepState::Failed, Some("Throttling".to_owned()));
        let mut planned = |facts: &PrincipalFacts, passing, inline_deny| -> Vec<String> {
            failed.passing = passing;
            record.steps = vec![failed.clone()];
            let settings = Settings {
                inline_deny,
                ..settings()
            };
            let steps = deny(facts, 0, &settings, Some(&record));
            steps.iter().map(|planned| planned.step.describe()).collect()
        };
        let both = planned(&alice, true, true);
        assert!(
            matches!(both.as_slice(), [attach, inline] if attach.contains("AWSDenyAll") && inline.contains("inline")),
            "{both:?}"
        );
        assert_eq!(
            planned(&alice, false, true),
            both[1..],
            "what can't be attached is replaced"
        );
        assert_eq!(planned(&alice, true, false), both[..1], "the member role may not");
        let denied = PrincipalFacts { denied: true, ..alice };
        assert_eq!(planned(&denied, true, true), both[..1], "it is attached by now");
    }

    #[test]
    fn a_wrong_path_is_refused_and_the_real_arn_named() {
        let facts = facts(PrincipalKind::User, "arn:aws:iam::222222222222:user/div/alice");
        for (named, right) in [
            ("arn:aws:iam::222222222222:user/div/alice", true),
            ("arn:aws:iam::222222222222:user/div/ALICE", true),
            ("arn:aws:iam::222222222222:user/alice", false),
            ("arn:aws:iam::222222222222:user/other/alice", false),
            ("arn:aws:iam::222222222222:user/div/sub/alice", false),
        ] {
            let judged = same_path(&entity(named), &facts.principal);
            assert_eq!(judged.is_ok(), right, "{named}");
            if let Err(refusal) = judged {
                assert!(refusal.0.contains("user/div/alice"), "{refusal}");
            }
        }
    }
}
