//! The kinds of entity, one file each: which ARNs name it, what a survey reads, and which plan follows from the facts.
//!
//! A new kind is a new file and one line in the table at the end of this page.

pub mod function;
pub mod instance;
pub mod principal;
pub mod role;
pub mod tags;
pub mod user;

use crate::arn::Arn;
use crate::aws::{Failure, Member};
use crate::entity::Entity;
use crate::guard::Refusal;
use crate::plan::Plan;
use crate::record::Record;
use crate::settings::Settings;
use crate::steps::Permission;
use tags::Tags;

/// One kind of entity.
pub(crate) trait Surveyed {
    /// The stable name, part of a record's key.
    const NAME: &'static str;
    /// For people, as in "IAM user".
    const LABEL: &'static str;
    /// The ARNs that name it.
    const SHAPES: &'static [&'static str];
    /// The permissions that the survey needs.
    const PERMISSIONS: &'static [Permission];
    /// Whether its parts can change while it is contained, such as interfaces that are attached: it is looked at again at the end.
    const CHANGES_MEANWHILE: bool = false;
    /// All that the plan depends on.
    type Facts: std::fmt::Debug;

    /// The entity that an ARN names; `None` if it is of another kind, an error if it is a malformed one of this kind.
    fn parse(arn: &Arn) -> Option<Result<Entity, String>>;
    /// Reads AWS; changes nothing.
    async fn survey(entity: &Entity, member: &Member, settings: &Settings) -> Result<Self::Facts, Failure>;
    /// Its tags: what its owners say about it.
    async fn tags(entity: &Entity, member: &Member) -> Result<Tags, Failure>;
    /// The steps for these facts. Pure. What the record says of steps that could not be made decides on their fall-backs.
    fn plan(
        entity: &Entity,
        facts: &Self::Facts,
        settings: &Settings,
        record: Option<&Record>,
    ) -> Result<Plan, Refusal>;
}

/// Makes the enums of all kinds and of their facts out of the table.
macro_rules! kinds {
    ($($variant:ident = $module:ident::$kind:ident;)+) => {
        /// Which kind of entity.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] $variant,)+
        }

        /// What a survey found.
        #[derive(Debug)]
        pub(crate) enum Facts {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] $variant(Box<<$module::$kind as Surveyed>::Facts>),)+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name, part of a record's key and of notices.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => <$module::$kind as Surveyed>::NAME,)+ }
            }
            /// For people.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => <$module::$kind as Surveyed>::LABEL,)+ }
            }
            /// Whether its parts can change while it is contained.
            pub(crate) fn changes_meanwhile(self) -> bool {
                match self { $(Self::$variant => <$module::$kind as Surveyed>::CHANGES_MEANWHILE,)+ }
            }
            /// All the ARNs that are accepted.
            pub fn shapes() -> String {
                [$(<$module::$kind as Surveyed>::SHAPES,)+].concat().join(", ")
            }
            /// The entity that an ARN names, or what is wrong with it.
            pub(crate) fn parse(arn: &Arn) -> Result<Entity, String> {
                $(if let Some(parsed) = <$module::$kind as Surveyed>::parse(arn) {
                    return parsed;
                })+
                Err("The Arn names nothing that can be locked down".to_owned())
            }
            /// Every permission that a survey of any kind needs.
            pub fn permissions() -> Vec<Permission> {
                [$(<$module::$kind as Surveyed>::PERMISSIONS,)+].concat()
            }
        }

        /// Reads all that the plan for an entity depends on; changes nothing.
        ///
        /// # Errors
        /// The first failed call.
        pub(crate) async fn survey(entity: &Entity, member: &Member, settings: &Settings) -> Result<Facts, Failure> {
            match entity.kind {
                $(Kind::$variant => <$module::$kind as Surveyed>::survey(entity, member, settings).await.map(|facts| Facts::$variant(Box::new(facts))),)+
            }
        }

        /// Reads an entity's tags.
        ///
        /// # Errors
        /// The call that failed; an entity that is gone is one.
        pub(crate) async fn tags(entity: &Entity, member: &Member) -> Result<Tags, Failure> {
            match entity.kind {
                $(Kind::$variant => <$module::$kind as Surveyed>::tags(entity, member).await,)+
            }
        }

        /// The plan for an entity with these facts: a pure function.
        ///
        /// # Errors
        /// A refusal where the facts show that the ARN names something else than it seems.
        pub(crate) fn plan(entity: &Entity, facts: &Facts, settings: &Settings, record: Option<&Record>) -> Result<Plan, Refusal> {
            match facts {
                $(Facts::$variant(facts) => <$module::$kind as Surveyed>::plan(entity, facts, settings, record),)+
            }
        }
    };
}

kinds! {
    User = user::User;
    Role = role::Role;
    Function = function::Function;
    Instance = instance::Instance;
}
