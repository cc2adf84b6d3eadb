//! An IAM role, named itself or by one of its sessions: AWSDenyAll.

use super::principal::{self, PrincipalFacts};
use super::tags::Tags;
use super::{Kind, Surveyed};
use crate::arn::Arn;
use crate::aws::{Failure, Member};
use crate::entity::{Entity, is_iam_name, path_and_name};
use crate::guard::Refusal;
use crate::plan::Plan;
use crate::record::Record;
use crate::settings::Settings;
use crate::steps::Permission;
use crate::steps::principal::PrincipalKind;

/// See the module.
pub(crate) struct Role;

impl Surveyed for Role {
    const NAME: &'static str = "iam-role";
    const LABEL: &'static str = "IAM role";
    const SHAPES: &'static [&'static str] = &[
        "arn:aws:iam::ACCOUNT:role/PATH/NAME",
        "arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION (means the role)",
    ];
    const PERMISSIONS: &'static [Permission] = principal::PERMISSIONS;
    type Facts = PrincipalFacts;

    fn parse(arn: &Arn) -> Option<Result<Entity, String>> {
        if arn.region.is_some() {
            return None;
        }
        let (path, name) = match (arn.service.as_str(), arn.resource.split_once('/')?) {
            ("iam", ("role", resource)) => match path_and_name(resource) {
                Some((path, name)) => (Some(path), name),
                None => return Some(Err("The Arn is a role's without a well-formed name".to_owned())),
            },
            // A session's ARN gives the role's name, never its path.
            ("sts", ("assumed-role", resource)) => match resource.split_once('/') {
                Some((name, session)) if is_iam_name(name) && is_iam_name(session) => (None, name.to_owned()),
                _ => return Some(Err("The Arn is a role session's without well-formed names".to_owned())),
            },
            _ => return None,
        };
        Some(Ok(Entity {
            kind: Kind::Role,
            partition: arn.partition,
            account: arn.account.clone(),
            region: None,
            name,
            path,
            named: arn.clone(),
        }))
    }

    async fn survey(entity: &Entity, member: &Member, _settings: &Settings) -> Result<PrincipalFacts, Failure> {
        principal::survey(PrincipalKind::Role, &entity.name, member).await
    }

    async fn tags(entity: &Entity, member: &Member) -> Result<Tags, Failure> {
        let asked = member.iam.get_role().role_name(&entity.name).send().await;
        let answer = asked.map_err(|error| member.failure("iam:GetRole", &entity.name, &error))?;
        let tags = answer.role.and_then(|role| role.tags).unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    fn plan(
        entity: &Entity,
        facts: &PrincipalFacts,
        settings: &Settings,
        record: Option<&Record>,
    ) -> Result<Plan, Refusal> {
        principal::same_path(entity, &facts.principal)?;
        let role = &facts.principal;
        let mut plan = Plan::of(role.arn.clone());
        plan.unique_id = Some(role.id.clone());
        plan.steps = principal::deny(facts, 0, settings, record);
        plan.residue = principal::residue(facts, &plan.steps);
        plan.remarks = principal::remarks(facts, &plan.steps, settings);
        if entity.named.service == "sts" {
            let all = format!(
                "{} is a session of the role {}: ALL sessions of that role are denied",
                entity.named, role.name
            );
            plan.affected.push(all);
        }
        plan.affected.push(format!(
            "Everybody and everything that uses the role {}, in sessions old and new",
            role.name
        ));
        plan.remarks.push(
            "Sessions that were assumed from this role in other roles carry those roles' rights and go on: contain those \
             roles too"
                .to_owned(),
        );
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entities::principal::tests::facts;
    use crate::settings::tests::settings;

    fn entity(text: &str) -> Entity {
        text.parse().expect("an entity")
    }

    #[test]
    fn the_name_is_the_last_segment_whatever_the_path() {
        let role = entity("arn:aws:iam::222222222222:role/service-role/r1");
        assert_eq!(
            (role.name.as_str(), role.path.as_deref()),
            ("r1", Some("/service-role/"))
        );
    }

    #[test]
    fn a_session_means_its_role_under_whatever_path() {
        let session = entity("arn:aws:sts::222222222222:assumed-role/r1/i-0123456789abcdef0");
        assert_eq!(
            session.key(),
            entity("arn:aws:iam::222222222222:role/service-role/r1").key()
        );
        let role = facts(PrincipalKind::Role, "arn:aws:iam::222222222222:role/service-role/r1");
        let plan = Role::plan(&session, &role, &settings(), None).expect("a plan");
        assert_eq!(plan.entity, role.principal.arn);
        assert!(
            plan.affected.iter().any(|line| line.contains("ALL sessions")),
            "{:?}",
            plan.affected
        );
    }
}
