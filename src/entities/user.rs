//! An IAM user: AWSDenyAll, and its access keys made inactive where that is configured.

use futures_util::future::{OptionFuture, join};

use super::principal::{self, PrincipalFacts};
use super::tags::Tags;
use super::{Kind, Surveyed};
use crate::arn::Arn;
use crate::aws::{Failure, Member};
use crate::entity::{Entity, path_and_name};
use crate::guard::Refusal;
use crate::plan::{Plan, Planned};
use crate::record::Record;
use crate::settings::{AccessKeys, Settings};
use crate::steps::access_key::{AccessKey, KeyState, access_keys};
use crate::steps::principal::PrincipalKind;
use crate::steps::{Permission, written};

/// See the module.
pub(crate) struct User;

/// The facts about a user.
#[derive(Debug)]
pub struct UserFacts {
    /// What users and roles have in common.
    pub principal: PrincipalFacts,
    /// The access keys, read only where they are to be made inactive.
    pub keys: Result<Vec<(String, KeyState)>, Failure>,
}

impl Surveyed for User {
    const NAME: &'static str = "iam-user";
    const LABEL: &'static str = "IAM user";
    const SHAPES: &'static [&'static str] = &["arn:aws:iam::ACCOUNT:user/PATH/NAME"];
    const PERMISSIONS: &'static [Permission] = principal::PERMISSIONS;
    type Facts = UserFacts;

    fn parse(arn: &Arn) -> Option<Result<Entity, String>> {
        let resource = arn
            .resource
            .strip_prefix("user/")
            .filter(|_| arn.service == "iam" && arn.region.is_none())?;
        let Some((path, name)) = path_and_name(resource) else {
            return Some(Err("The Arn is a user's without a well-formed name".to_owned()));
        };
        Some(Ok(Entity {
            kind: Kind::User,
            partition: arn.partition,
            account: arn.account.clone(),
            region: None,
            name,
            path: Some(path),
            named: arn.clone(),
        }))
    }

    async fn survey(entity: &Entity, member: &Member, settings: &Settings) -> Result<UserFacts, Failure> {
        let keys = (settings.access_keys == AccessKeys::Deactivate).then(|| access_keys(member, &entity.name));
        let (principal, keys) = join(
            principal::survey(PrincipalKind::User, &entity.name, member),
            OptionFuture::from(keys),
        )
        .await;
        Ok(UserFacts {
            principal: principal?,
            // They come after the deny, which must not wait for them.
            keys: keys.unwrap_or_else(|| Ok(vec![])),
        })
    }

    async fn tags(entity: &Entity, member: &Member) -> Result<Tags, Failure> {
        let asked = member.iam.get_user().user_name(&entity.name).send().await;
        let answer = asked.map_err(|error| member.failure("iam:GetUser", &entity.name, &error))?;
        let tags = answer.user.and_then(|user| user.tags).unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    fn plan(entity: &Entity, facts: &UserFacts, settings: &Settings, record: Option<&Record>) -> Result<Plan, Refusal> {
        principal::same_path(entity, &facts.principal.principal)?;
        let user = &facts.principal.principal;
        let mut plan = Plan::of(user.arn.clone());
        plan.unique_id = Some(user.id.clone());
        plan.steps = principal::deny(&facts.principal, 0, settings, record);
        plan.residue = principal::residue(&facts.principal, &plan.steps);
        plan.remarks = principal::remarks(&facts.principal, &plan.steps, settings);
        match &facts.keys {
            Ok(keys) => {
                let active = keys.iter().filter(|(_, state)| *state == KeyState::Active);
                plan.steps.extend(active.map(|(key, state)| {
                    let (principal, key) = (user.clone(), key.clone());
                    Planned::new(0, AccessKey { principal, key }, Some(written(state)))
                }));
            }
            Err(failure) => plan.leave_open(
                "Its access keys, which could not be listed and are still active (the deny covers them while it holds)",
                failure,
            ),
        }
        plan.remarks.extend([
            "Sessions that the user has assumed in other roles carry those roles' rights and go on: contain those roles too".to_owned(),
            "Keys, users and roles that the intruder made beforehand go on: look for them in CloudTrail".to_owned(),
        ]);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::Reason;
    use crate::entities::principal::tests::facts;
    use crate::settings::tests::settings;

    fn entity(text: &str) -> Entity {
        text.parse().expect("an entity")
    }

    fn described(facts: &UserFacts, settings: &Settings) -> Vec<String> {
        let entity = entity("arn:aws:iam::222222222222:user/div/alice");
        let plan = User::plan(&entity, facts, settings, None).expect("a plan");
        plan.steps.iter().map(|planned| planned.step.describe()).collect()
    }

    #[test]
    fn a_path_is_part_of_the_arn_and_never_of_the_name() {
        let user = entity("arn:aws:iam::222222222222:user/div/sub/alice");
        assert_eq!((user.name.as_str(), user.path.as_deref()), ("alice", Some("/div/sub/")));
        assert_eq!(
            entity("arn:aws-cn:iam::222222222222:user/bob@example.com").name,
            "bob@example.com"
        );
    }

    #[test]
    fn a_user_is_denied_by_the_first_means_that_there_is_room_for() {
        let settings = settings();
        let mut user = UserFacts {
            principal: facts(PrincipalKind::User, "arn:aws:iam::222222222222:user/div/alice"),
            keys: Ok(vec![]),
        };
        assert_eq!(described(&user, &settings), ["attach AWSDenyAll to the user alice"]);
        user.principal.full = true;
        let inline = "write the inline policy EntityLockdownDenyAll into the user alice: deny everything";
        assert_eq!(described(&user, &settings), [inline]);
        let without_inline = Settings {
            inline_deny: false,
            ..settings
        };
        assert_eq!(
            described(&user, &without_inline),
            ["set AWSDenyAll as the permissions boundary of the user alice"]
        );
    }

    #[test]
    fn active_keys_become_inactive_and_inactive_ones_are_left_alone() {
        let keys = vec![
            ("AKIAACTIVE".to_owned(), KeyState::Active),
            ("AKIAOLD".to_owned(), KeyState::Inactive),
        ];
        let user = UserFacts {
            principal: facts(PrincipalKind::User, "arn:aws:iam::222222222222:user/div/alice"),
            keys: Ok(keys),
        };
        let expected = [
            "attach AWSDenyAll to the user alice",
            "make the access key AKIAACTIVE of the user alice inactive",
        ];
        assert_eq!(described(&user, &settings()), expected);
    }

    #[test]
    fn keys_that_can_not_be_listed_do_not_hold_the_deny_up() {
        for (reason, retry) in [(Reason::Denied, 0), (Reason::Passing, 1)] {
            let mut failure = Failure::own("iam:ListAccessKeys", "alice", "222222222222", "X", "");
            failure.reason = reason;
            let user = UserFacts {
                principal: facts(PrincipalKind::User, "arn:aws:iam::222222222222:user/div/alice"),
                keys: Err(failure),
            };
            let entity = entity("arn:aws:iam::222222222222:user/div/alice");
            let plan = User::plan(&entity, &user, &settings(), None).expect("a plan");
            assert_eq!(plan.steps.len(), 1, "{plan:?}");
            assert_eq!((plan.residue.len(), plan.unread.len()), (1, retry), "{plan:?}");
        }
    }
}
