//! Overlapping containments: two functions and their one role are locked and released in any order, with copies, crashes, drift and the
//! watch in between. At any time what is contained is locked, and what is not is as it was before.
//!
//! `PROPTEST_CASES=20000 cargo test --features testing --lib overlapping` tries so many; a failure names the shortest history.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::functions::{FUNCTIONS, ROLE, arn};
use super::{Cut, DENY_ALL, RolePolicies, World};
use crate::handler::{Deps, handle};
use crate::journal::Journal;
use crate::journal::memory::Memory;
use crate::moment::Moment;

/// Longer than a lease.
const LAPSED_MILLIS: i64 = 31_000;

/// How many entities there are: the functions, and the role.
const ENTITIES: usize = FUNCTIONS.len() + 1;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Happening {
    /// A message asks for the containment of one entity, or for its release; the function may die of it, and is handed it again.
    Asked {
        entity: usize,
        contain: bool,
        cut: Option<(usize, bool)>,
    },
    /// SNS delivers the newest message again.
    Copy,
    /// Somebody takes the deny off the role, and the watch looks.
    Drift,
    /// Somebody gives a function concurrency back, and the watch looks.
    Raised(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let cut = || option::of((1_usize..25, any::<bool>()));
    prop_oneof![
        4 => (0..ENTITIES, any::<bool>(), cut()).prop_map(|(entity, contain, cut)| Happening::Asked { entity, contain, cut }),
        1 => Just(Happening::Copy),
        1 => Just(Happening::Drift),
        1 => (0..FUNCTIONS.len()).prop_map(Happening::Raised),
    ]
}

/// How role and functions were before.
#[derive(Debug, Clone)]
struct Before {
    denied: bool,
    /// Whether IAM refuses to attach any more policies to the role.
    full: bool,
    reserved: [Option<i64>; FUNCTIONS.len()],
}

fn before() -> impl Strategy<Value = Before> {
    let reserved = || prop_oneof![Just(None), Just(Some(0)), Just(Some(7))];
    (any::<bool>(), any::<bool>(), [reserved(), reserved()]).prop_map(|(denied, full, reserved)| Before {
        denied,
        full,
        reserved,
    })
}

/// One history as it goes on.
struct History {
    world: World,
    deps: Deps,
    before: RolePolicies,
    reserved: [Option<i64>; FUNCTIONS.len()],
    newest: Option<(usize, bool)>,
    messages: u64,
    contained: BTreeSet<usize>,
}

fn entity(number: usize) -> String {
    FUNCTIONS.get(number).map_or_else(|| ROLE.to_owned(), |name| arn(name))
}

impl History {
    async fn begin(before: &Before) -> Self {
        let world = World::default();
        let role = world.with(|state| {
            state.role.attached = vec!["arn:aws:iam::222222222222:policy/own".to_owned()];
            state.role.attached.extend(before.denied.then(|| DENY_ALL.to_owned()));
            if before.full {
                state.refuse.insert("AttachRolePolicy", "LimitExceeded");
            }
            let found = FUNCTIONS.iter().zip(before.reserved);
            state.reserved = found
                .filter_map(|(name, number)| Some(((*name).to_owned(), number?)))
                .collect();
            state.role.clone()
        });
        Self {
            deps: world.process(Journal::Memory(Memory::default())).await,
            world,
            before: role,
            reserved: before.reserved,
            newest: None,
            messages: 0,
            contained: BTreeSet::new(),
        }
    }

    /// Hands the newest message over, again if the function dies of it.
    async fn deliver(mut self, cut: Option<Cut>) -> Self {
        let Some((number, contain)) = self.newest else {
            return self;
        };
        let (action, id) = (
            if contain { "contain" } else { "release" },
            format!("m{}", self.messages),
        );
        let named = || json!({"Type": "String", "Value": entity(number)});
        self.world.with(|state| (state.calls.clear(), state.cut = cut));
        let mut outcome = self
            .world
            .deliver_for(&self.deps, action, &id, self.messages, named())
            .boxed_local()
            .await;
        self.world.with(|state| state.cut = None);
        if outcome.is_none() {
            Moment::advance(LAPSED_MILLIS);
            self.deps = self.world.process(self.deps.journal).await;
            outcome = self
                .world
                .deliver_for(&self.deps, action, &id, self.messages, named())
                .boxed_local()
                .await;
        }
        assert!(
            matches!(outcome, Some(Ok(()))),
            "{action} {id} of {}: {outcome:?}",
            entity(number)
        );
        if contain {
            self.contained.insert(number);
        } else {
            self.contained.remove(&number);
            // Not even for a moment: what is contained by others stays denied through it.
            let opened = self.world.with(|state| {
                let opens = |call: &&String| ["DetachRolePolicy", "DeleteRolePolicy"].contains(&call.as_str());
                state.calls.iter().filter(opens).count()
            });
            assert!(
                opened == 0 || self.contained.is_empty(),
                "{id} opens what {:?} hold",
                self.contained
            );
        }
        self
    }

    async fn asked(mut self, number: usize, contain: bool, cut: Option<(usize, bool)>) -> Self {
        self.messages += 1;
        self.newest = Some((number, contain));
        let cut = cut.map(|(at, after)| if after { Cut::After(at) } else { Cut::Before(at) });
        self.deliver(cut).boxed_local().await
    }

    async fn watch(&self) {
        let until = Moment::now().plus_seconds(900);
        let seen = handle(json!({"watch": true}), until, &self.deps).boxed_local().await;
        assert!(seen.is_ok(), "{seen:?}");
    }

    async fn go_on(self, happening: &Happening) -> Self {
        match happening {
            Happening::Asked { entity, contain, cut } => self.asked(*entity, *contain, *cut).await,
            Happening::Copy => self.deliver(None).await,
            Happening::Drift => {
                if !self.contained.is_empty() {
                    self.world.with(|state| {
                        // AWSDenyAll that was there before could not be put back where IAM refuses to attach it.
                        if !state.refuse.contains_key("AttachRolePolicy") {
                            state.role.attached.retain(|arn| arn != DENY_ALL);
                        }
                        state.role.inline.clear();
                    });
                    self.watch().await;
                }
                self
            }
            Happening::Raised(number) => {
                if let Some(name) = FUNCTIONS.get(*number).filter(|_| self.contained.contains(number)) {
                    self.world.with(|state| state.reserved.insert((*name).to_owned(), 1000));
                    self.watch().await;
                }
                self
            }
        }
    }

    /// What is contained is locked; what is not, nor shares anything with what is, is as it was.
    fn judge(&self, after: &dyn std::fmt::Debug) {
        let (role, reserved, stages) = self
            .world
            .with(|state| (state.role.clone(), state.reserved.clone(), state.stages.clone()));
        for (number, name) in FUNCTIONS.iter().enumerate() {
            let contained = self.contained.contains(&number);
            let wanted = if contained {
                Some(0)
            } else {
                self.reserved.get(number).copied().flatten()
            };
            assert_eq!(
                reserved.get(*name).copied(),
                wanted,
                "{name} after {after:?}: {stages:?}"
            );
        }
        if self.contained.is_empty() {
            assert_eq!(role, self.before, "the role after {after:?}: {stages:?}");
        } else {
            let denied = role.attached.iter().any(|arn| arn == DENY_ALL) || !role.inline.is_empty();
            assert!(denied, "the role is open after {after:?}: {stages:?}");
        }
    }
}

async fn play(before: &Before, happenings: &[Happening]) {
    let mut history = History::begin(before).await;
    for happening in happenings {
        history = history.go_on(happening).boxed_local().await;
        history.judge(happening);
    }
    for number in 0..ENTITIES {
        history = history.asked(number, false, None).boxed_local().await;
        history.judge(&format!("the release of {}", entity(number)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn overlapping_containments_lock_what_is_contained_and_nothing_else(before in before(), happenings in vec(happening(), 1..10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(play(&before, &happenings).boxed_local());
    }
}
