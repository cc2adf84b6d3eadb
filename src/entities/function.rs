//! A Lambda function: concurrency 0, its role denied everything, its event source mappings disabled.
//!
//! Sources: AWS Lambda Developer Guide, "Configuring reserved concurrency for a function" and "Defining Lambda function
//! permissions with an execution role".

pub mod survey;

use super::principal;
use super::tags::Tags;
use super::{Kind, Surveyed};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};
use crate::entity::Entity;
use crate::guard::Refusal;
use crate::plan::{Plan, Planned};
use crate::record::Record;
use crate::settings::Settings;
use crate::steps::concurrency::Concurrency;
use crate::steps::{Permission, written};
use survey::{Beyond, EDGE, ExecutionRole, FunctionFacts};

/// How many other functions a notice names.
const NAMED_AT_MOST: usize = 100;

/// See the module.
pub(crate) struct Function;

impl Surveyed for Function {
    const NAME: &'static str = "lambda-function";
    const LABEL: &'static str = "Lambda function";
    const SHAPES: &'static [&'static str] = &["arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]"];
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "iam:GetAccountSummary",
            used_for: "know the quota of managed policies",
        },
        Permission {
            action: "iam:GetRole",
            used_for: "find a role's real ARN, id and boundary",
        },
        Permission {
            action: "iam:ListAttachedRolePolicies",
            used_for: "see whether a role is denied already",
        },
        Permission {
            action: "lambda:GetFunctionConcurrency",
            used_for: "know a function's concurrency before",
        },
        Permission {
            action: "lambda:GetFunctionConfiguration",
            used_for: "find a function's role",
        },
        Permission {
            action: "lambda:ListEventSourceMappings",
            used_for: "find what feeds a function",
        },
        Permission {
            action: "lambda:ListFunctions",
            used_for: "name the other functions that use a role",
        },
        Permission {
            action: "lambda:ListTags",
            used_for: "see what a function's tags say about automatic containment",
        },
    ];
    type Facts = FunctionFacts;

    fn parse(arn: &Arn) -> Option<Result<Entity, String>> {
        if arn.service != "lambda" {
            return None;
        }
        let named = arn.region.as_ref().zip(name_and_qualifier(&arn.resource));
        let Some((region, (name, _))) = named else {
            let reason =
                "The Arn is of Lambda and names no function with a region and a well-formed name and qualifier";
            return Some(Err(reason.to_owned()));
        };
        Some(Ok(Entity {
            kind: Kind::Function,
            partition: arn.partition,
            account: arn.account.clone(),
            region: Some(region.clone()),
            name: name.to_owned(),
            path: None,
            named: arn.clone(),
        }))
    }

    async fn survey(entity: &Entity, member: &Member, _settings: &Settings) -> Result<FunctionFacts, Failure> {
        survey::survey(entity, member).await
    }

    async fn tags(entity: &Entity, member: &Member) -> Result<Tags, Failure> {
        survey::tags(entity, member).await
    }

    fn plan(
        _entity: &Entity,
        facts: &FunctionFacts,
        settings: &Settings,
        record: Option<&Record>,
    ) -> Result<Plan, Refusal> {
        let mut plan = Plan::of(facts.arn.clone());
        let function = facts.arn.clone();
        let before = facts.concurrency.as_ref().map(written);
        plan.steps.push(Planned::new(0, Concurrency { function }, before));
        for role in &facts.roles {
            plan_role(&mut plan, role, facts, settings, record);
        }
        plan_mappings(&mut plan, facts, record);
        if let Some(failure) = &facts.unread_qualifier {
            if failure.reason == Reason::Absent {
                let gone = "The version or alias that was named does not exist (any more): the whole function is stopped all the same";
                plan.remarks.push(gone.to_owned());
            } else {
                plan.leave_open("A role of its own that the named version or alias may have", failure);
            }
        }
        plan.residue.extend(facts.beyond.iter().map(Beyond::sentence));
        plan.remarks.extend(remarks(facts));
        Ok(plan)
    }
}

impl Beyond {
    fn sentence(&self) -> String {
        match self {
            Self::Edge => format!(
                "Lambda@Edge: the role trusts {EDGE}, so CloudFront may run replicas of this function, which a concurrency of 0 \
                 does not stop (they can't act in AWS any more): take the function out of the distribution's cache behaviours"
            ),
            Self::ManagedInstances(provider) => format!(
                "It runs on managed instances ({provider}), for which a concurrency of 0 is not known to stop what runs there: \
                 stop or delete the versions there"
            ),
            Self::Durable => {
                "It has durable executions: one that is suspended may go on later, and is not known to be stopped by a \
                 concurrency of 0: list and stop them (aws lambda stop-durable-execution)"
                    .to_owned()
            }
        }
    }
}

fn plan_role(
    plan: &mut Plan,
    role: &ExecutionRole,
    facts: &FunctionFacts,
    settings: &Settings,
    record: Option<&Record>,
) {
    let found = match role {
        ExecutionRole::Found(found) => found,
        ExecutionRole::OfAws(arn) => {
            plan.residue.push(format!(
                "The role {arn} is one of AWS itself, which nobody can change: it is not denied, and sessions of it go on"
            ));
            return;
        }
        ExecutionRole::Gone(arn) => {
            plan.residue.push(format!(
                "The role {arn} does not exist (any more), so there was nothing to deny: give the function a role before you \
                 release it"
            ));
            return;
        }
        ExecutionRole::Unread(arn, failure) => {
            plan.leave_open(
                &format!("The role {arn}, which could not be read and is not denied"),
                failure,
            );
            return;
        }
    };
    let steps = principal::deny(found, 0, settings, record);
    plan.residue.extend(principal::residue(found, &steps));
    plan.remarks.extend(principal::remarks(found, &steps, settings));
    if steps.is_empty() {
        return;
    }
    plan.steps.extend(steps);
    let (role, arn) = (&found.principal.name, found.principal.arn.to_string());
    plan.affected.push(format!(
        "Everybody and everything that uses the role {role}, in sessions old and new and in every region; the function's own logs \
         stop with it"
    ));
    let others: Vec<&str> = facts
        .others
        .sharing
        .iter()
        .filter(|(_, of)| *of == arn)
        .map(|(name, _)| name.as_str())
        .collect();
    if !others.is_empty() {
        let (named, rest) = others.split_at(others.len().min(NAMED_AT_MOST));
        let more = if rest.is_empty() {
            String::new()
        } else {
            format!(" and {} more", rest.len())
        };
        plan.affected.push(format!(
            "Other functions that use the role {role}, which are denied everything and go dark too: {}{more}",
            named.join(", ")
        ));
    }
}

fn plan_mappings(plan: &mut Plan, facts: &FunctionFacts, record: Option<&Record>) {
    if let Some(failure) = &facts.unlisted_mappings {
        plan.leave_open(
            "Event source mappings of it that could not be listed and go on polling",
            failure,
        );
    }
    for (step, state) in &facts.mappings {
        let planned = Planned::new(0, step.clone(), Some(written(state)));
        // One that was off before is left alone; one that we turned off is ours to keep so.
        let ours = record.is_some_and(|record| record.find(&planned.step).is_some());
        if state.enabled || ours {
            plan.steps.push(planned);
        }
    }
}

fn remarks(facts: &FunctionFacts) -> Vec<String> {
    let limit = facts
        .time_limit
        .map_or(String::new(), |seconds| format!(" ({seconds} s)"));
    let mut remarks = vec![
        format!(
            "Invocations that run already may go on until their time limit{limit}; what they can do in AWS is stopped by the deny"
        ),
        "While it is contained, synchronous calls get an error (429), and asynchronous events go to the function's dead-letter \
         queue or on-failure destination, if it has one"
            .to_owned(),
        "Published versions that run with another role than the ones named here can't be invoked, but that role is not denied"
            .to_owned(),
        "Sessions that the role has assumed in other roles carry those roles' rights and go on: contain those roles too".to_owned(),
    ];
    if let Some(why) = &facts.others.incomplete {
        remarks.push(format!(
            "Other functions with the same role may be missing above: {why}"
        ));
    }
    remarks
}

/// `function:NAME` or `function:NAME:QUALIFIER`, taken apart.
fn name_and_qualifier(resource: &str) -> Option<(&str, Option<&str>)> {
    let word = |text: &str, longest| {
        (1..=longest).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let rest = resource.strip_prefix("function:")?;
    let (name, qualifier) = match rest.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (rest, None),
    };
    // The unpublished version, the newest published one, or the number of a version or name of an alias.
    let known = |qualifier| matches!(qualifier, "$LATEST" | "$LATEST.PUBLISHED") || word(qualifier, 128);
    (word(name, 64) && qualifier.is_none_or(known)).then_some((name, qualifier))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::request;
    use crate::entities::principal::tests::facts as role_facts;
    use crate::guard::judge_plan;
    use crate::moment::Moment;
    use crate::record::RecordedStep;
    use crate::request::Action;
    use crate::settings::tests::settings;
    use crate::steps::concurrency::Reserved;
    use crate::steps::event_source::{EventSource, Mapping};
    use crate::steps::principal::PrincipalKind;
    use survey::Others;

    const ARN: &str = "arn:aws:lambda:us-east-1:222222222222:function:f";
    const ROLE: &str = "arn:aws:iam::222222222222:role/service-role/r";

    fn entity(text: &str) -> Entity {
        text.parse().expect("an entity")
    }

    fn failure(code: &str, reason: Reason) -> Failure {
        let mut failure = Failure::own("lambda:X", "f", "222222222222", code, "");
        failure.reason = reason;
        failure
    }

    fn mapping(id: &str, enabled: bool) -> (EventSource, Mapping) {
        let function = ARN.parse().expect("an ARN");
        let mapping = id.to_owned();
        (
            EventSource {
                function,
                mapping,
                source: None,
            },
            Mapping { enabled },
        )
    }

    /// A function with a role and nothing else.
    fn plain() -> FunctionFacts {
        FunctionFacts {
            arn: ARN.parse().expect("an ARN"),
            time_limit: Some(30),
            concurrency: Some(Reserved { reserved: None }),
            mappings: vec![],
            unlisted_mappings: None,
            roles: vec![ExecutionRole::Found(role_facts(PrincipalKind::Role, ROLE))],
            unread_qualifier: None,
            beyond: vec![],
            others: Others::default(),
        }
    }

    fn plan(facts: &FunctionFacts) -> Plan {
        Function::plan(&entity(ARN), facts, &settings(), None).expect("a plan")
    }

    fn described(plan: &Plan) -> Vec<String> {
        plan.steps
            .iter()
            .map(|planned| format!("{}: {}", planned.phase, planned.step.describe()))
            .collect()
    }

    const STOP: &str = "0: set the reserved concurrency of the function f to 0, for all its versions and aliases";
    const DENY: &str = "0: attach AWSDenyAll to the role r";

    #[test]
    fn a_function_is_named_with_or_without_a_qualifier() {
        let key = entity(ARN).key();
        assert_eq!(key, "aws/222222222222/us-east-1/lambda-function/f");
        for qualifier in [
            "$LATEST",
            "$LATEST.PUBLISHED",
            "1",
            "live",
            "LIVE-2_b",
            &"a".repeat(128),
        ] {
            assert_eq!(entity(&format!("{ARN}:{qualifier}")).key(), key, "{qualifier}");
        }
        let other = entity("arn:aws-cn:lambda:cn-north-1:222222222222:function:My_Function-2");
        assert_eq!(
            (other.name.as_str(), other.home().as_str()),
            ("My_Function-2", "cn-north-1")
        );
        assert_ne!(entity("arn:aws:lambda:us-east-1:222222222222:function:F").key(), key);
        assert_ne!(entity("arn:aws:lambda:eu-west-1:222222222222:function:f").key(), key);
    }

    #[test]
    fn what_names_no_function_is_refused() {
        let long = "a".repeat(65);
        for resource in [
            "function:",
            "function",
            "function:f:",
            "function::live",
            "function:f:a:b",
            "function:f/live",
            "function:f:$OLD",
            "function:f:a.b",
            "function:f.g",
            "function:f*",
            "layer:l:1",
            "event-source-mapping:6f1c",
            "code-signing-config:x",
            &format!("function:{long}"),
            &format!("function:f:{long}{long}"),
        ] {
            let text = format!("arn:aws:lambda:us-east-1:222222222222:{resource}");
            let refusal = text.parse::<Entity>().expect_err(&text).to_string();
            assert!(refusal.contains("function:NAME[:QUALIFIER]"), "{text}: {refusal}");
        }
        assert!("arn:aws:lambda::222222222222:function:f".parse::<Entity>().is_err());
    }

    #[test]
    fn a_function_is_stopped_and_its_role_denied_at_once() {
        let plan = plan(&plain());
        assert_eq!(described(&plan), [STOP, DENY]);
        assert_eq!(plan.entity.to_string(), ARN);
        assert!(plan.residue.is_empty() && plan.unread.is_empty(), "{plan:?}");
        assert!(
            plan.affected.iter().any(|line| line.contains("logs stop")),
            "{:?}",
            plan.affected
        );
        assert!(
            plan.remarks.iter().any(|line| line.contains("(30 s)")),
            "{:?}",
            plan.remarks
        );
        let touched: Vec<String> = plan.touches().map(|arn| arn.to_string()).collect();
        assert_eq!(touched, [ARN, ROLE]);
    }

    #[test]
    fn mappings_that_are_on_are_disabled_and_those_that_were_off_are_left_alone() {
        let facts = FunctionFacts {
            mappings: vec![mapping("on", true), mapping("off", false)],
            ..plain()
        };
        let expected = [STOP, DENY, "0: disable the event source mapping on of the function f"];
        assert_eq!(described(&plan(&facts)), expected);

        let first = request(Action::Contain, "m1", 0);
        let mut record = Record::begin(&first, Moment::now());
        let recorded = Planned::new(0, mapping("off", true).0, None);
        record.steps.push(RecordedStep::planned(
            recorded,
            written(&Mapping { enabled: true }),
            Moment::now(),
        ));
        let again = Function::plan(&entity(ARN), &facts, &settings(), Some(&record)).expect("a plan");
        assert_eq!(
            described(&again).len(),
            4,
            "one that we turned off stays part of the plan: {again:?}"
        );
    }

    #[test]
    fn the_other_functions_with_the_role_are_named() {
        let sharing = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), ROLE.to_owned())).collect();
        let mut facts = plain();
        facts.others = Others {
            sharing: sharing(&["g", "h"]),
            incomplete: Some("they were listed for 2 s".to_owned()),
        };
        let made = plan(&facts);
        assert!(
            made.affected.iter().any(|line| line.ends_with(": g, h")),
            "{:?}",
            made.affected
        );
        assert!(
            made.remarks.iter().any(|line| line.contains("may be missing")),
            "{:?}",
            made.remarks
        );
        let many: Vec<String> = (0..103).map(|n| format!("g{n:03}")).collect();
        facts.others.sharing = sharing(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            plan(&facts)
                .affected
                .iter()
                .any(|line| line.ends_with("g099 and 3 more"))
        );
    }

    #[test]
    fn a_role_of_its_own_that_the_named_version_has_is_denied_too() {
        let mut facts = plain();
        let other = role_facts(PrincipalKind::Role, "arn:aws:iam::222222222222:role/old");
        facts.roles.push(ExecutionRole::Found(other));
        assert_eq!(
            described(&plan(&facts)),
            [STOP, DENY, "0: attach AWSDenyAll to the role old"]
        );
    }

    #[test]
    fn what_cannot_be_denied_or_read_is_residue_and_a_retry_is_asked_for_where_it_can_help() {
        let arn = || ROLE.parse::<Arn>().expect("an ARN");
        let passing = || failure("TooManyRequestsException", Reason::Passing);
        let denied = || failure("AccessDenied", Reason::Denied);
        for (role, retry) in [
            (ExecutionRole::OfAws(arn()), false),
            (ExecutionRole::Gone(arn()), false),
            (ExecutionRole::Unread(ROLE.to_owned(), denied()), false),
            (ExecutionRole::Unread(ROLE.to_owned(), passing()), true),
        ] {
            let facts = FunctionFacts {
                roles: vec![role],
                ..plain()
            };
            let plan = plan(&facts);
            assert_eq!(described(&plan), [STOP]);
            assert_eq!(
                (plan.residue.len(), plan.unread.len()),
                (1, usize::from(retry)),
                "{plan:?}"
            );
            assert!(plan.residue.iter().all(|line| line.contains(ROLE)), "{plan:?}");
        }
        for (failure, retry) in [(denied(), false), (passing(), true)] {
            let facts = FunctionFacts {
                mappings: vec![mapping("on", true)],
                unlisted_mappings: Some(failure),
                ..plain()
            };
            let plan = plan(&facts);
            let known = "0: disable the event source mapping on of the function f";
            assert_eq!(described(&plan), [STOP, DENY, known]);
            assert_eq!(
                (plan.residue.len(), plan.unread.len()),
                (1, usize::from(retry)),
                "{plan:?}"
            );
        }
    }

    #[test]
    fn a_role_that_nothing_can_deny_is_residue_and_is_not_said_to_be_denied() {
        let mut role = role_facts(PrincipalKind::Role, ROLE);
        role.full = true;
        role.boundary = Some("arn:aws:iam::222222222222:policy/limits".to_owned());
        let settings = Settings {
            inline_deny: false,
            ..settings()
        };
        let facts = FunctionFacts {
            roles: vec![ExecutionRole::Found(role)],
            ..plain()
        };
        let plan = Function::plan(&entity(ARN), &facts, &settings, None).expect("a plan");
        assert_eq!(described(&plan), [STOP]);
        assert_eq!((plan.residue.len(), plan.affected.len()), (1, 0), "{plan:?}");
    }

    #[test]
    fn an_alias_that_is_gone_is_no_residue_and_one_that_cannot_be_read_is() {
        for (reason, residue) in [(Reason::Absent, 0), (Reason::Denied, 1)] {
            let facts = FunctionFacts {
                unread_qualifier: Some(failure("X", reason)),
                ..plain()
            };
            assert_eq!(plan(&facts).residue.len(), residue, "{reason:?}");
        }
    }

    #[test]
    fn where_a_concurrency_of_0_is_not_known_to_stop_it_that_is_residue() {
        for (way, word) in [
            (Beyond::Edge, "Lambda@Edge"),
            (Beyond::ManagedInstances("cp".to_owned()), "managed instances"),
            (Beyond::Durable, "durable"),
        ] {
            let facts = FunctionFacts {
                beyond: vec![way],
                ..plain()
            };
            assert!(plan(&facts).residue.iter().any(|line| line.contains(word)), "{word}");
        }
    }

    #[test]
    fn a_function_whose_role_is_protected_or_our_own_is_refused() {
        for (role, word) in [
            ("arn:aws:iam::222222222222:role/break-glass-1", "ProtectedArns"),
            (
                "arn:aws:iam::222222222222:role/EntityLockdownMemberRole",
                "role of this product",
            ),
        ] {
            let facts = FunctionFacts {
                roles: vec![ExecutionRole::Found(role_facts(PrincipalKind::Role, role))],
                ..plain()
            };
            let refusal = judge_plan(&plan(&facts), &settings()).expect_err(role).0;
            assert!(
                refusal.contains(word) && refusal.contains(role) && refusal.contains(ARN),
                "{refusal}"
            );
        }
    }
}
