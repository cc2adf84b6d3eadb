//! Histories: whatever happens to a user between the first message and the last, in any order, a release ends with the state before.
//!
//! `PROPTEST_CASES=20000 cargo test --features testing --lib histories` tries so many; a failure names the shortest history.

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::{Cut, DENY_ALL, World};
use crate::handler::{Deps, handle};
use crate::journal::Journal;
use crate::journal::memory::Memory;
use crate::moment::Moment;

/// The name of our inline deny, which somebody may have used before.
const INLINE: &str = "EntityLockdownDenyAll";

/// Longer than a lease.
const LAPSED_MILLIS: i64 = 31_000;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Happening {
    /// A message asks for containment.
    Contain,
    /// SNS delivers the newest message again.
    Copy,
    /// The function dies at a call of a containment, before it or after it took effect, and the message comes again.
    Crash { at: usize, after: bool },
    /// Somebody takes our deny off, and the watch looks, or another message comes.
    Drift { watched: bool },
    /// The watch looks.
    Watch,
    /// Somebody else attaches a policy that is none of our business.
    Stranger(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        Just(Happening::Contain),
        Just(Happening::Copy),
        (1_usize..12, any::<bool>()).prop_map(|(at, after)| Happening::Crash { at, after }),
        any::<bool>().prop_map(|watched| Happening::Drift { watched }),
        Just(Happening::Watch),
        (20_u8..23).prop_map(Happening::Stranger),
    ]
}

/// The user as it was before.
#[derive(Debug, Clone)]
struct Before {
    /// Policies of the account.
    policies: u8,
    /// Whether AWSDenyAll is attached already.
    denied: bool,
    /// Whether IAM refuses to attach any more.
    full: bool,
    /// Whether there is an inline policy of our name, by somebody else.
    inline: bool,
}

fn before() -> impl Strategy<Value = Before> {
    (0_u8..4, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(policies, denied, full, inline)| Before {
        policies,
        denied,
        full,
        inline,
    })
}

/// One history as it goes on.
struct History {
    world: World,
    deps: Deps,
    messages: u64,
}

impl History {
    async fn begin(before: &Before) -> Self {
        let world = World::default();
        world.with(|state| {
            state.attached = (0..before.policies).map(policy).collect();
            if before.denied {
                state.attached.push(DENY_ALL.to_owned());
            }
            if before.full {
                state.refuse.insert("AttachUserPolicy", "LimitExceeded");
            }
            if before.inline {
                state
                    .inline
                    .insert(INLINE.to_owned(), r#"{"Statement":"theirs"}"#.to_owned());
            }
        });
        let deps = world.process(Journal::Memory(Memory::default())).await;
        Self {
            world,
            deps,
            messages: 0,
        }
    }

    /// Hands the newest message over, again if the function dies of it.
    async fn deliver(self, action: &str, cut: Option<Cut>) -> Self {
        let Self { world, deps, messages } = self;
        let id = format!("m{messages}");
        world.with(|state| (state.calls.clear(), state.cut = cut));
        let outcome = world.deliver(&deps, action, &id, messages).boxed_local().await;
        world.with(|state| state.cut = None);
        if let Some(outcome) = outcome {
            assert!(outcome.is_ok(), "{action} {id}: {outcome:?}");
            return Self { world, deps, messages };
        }
        Moment::advance(LAPSED_MILLIS);
        let deps = world.process(deps.journal).await;
        let again = world.deliver(&deps, action, &id, messages).boxed_local().await;
        assert!(matches!(again, Some(Ok(()))), "{action} {id} again: {again:?}");
        Self { world, deps, messages }
    }

    async fn new_message(mut self, action: &str, cut: Option<Cut>) -> Self {
        self.messages += 1;
        self.deliver(action, cut).boxed_local().await
    }

    async fn watch(&self) {
        let until = Moment::now().plus_seconds(900);
        // On the heap, as in the function: the futures of a whole containment are too much for a test's stack.
        let seen = handle(json!({"watch": true}), until, &self.deps).boxed_local().await;
        assert!(seen.is_ok(), "{seen:?}");
    }

    async fn go_on(self, happening: &Happening) -> Self {
        match happening {
            Happening::Contain => self.new_message("contain", None).await,
            Happening::Copy => self.deliver("contain", None).await,
            Happening::Crash { at, after } => {
                let cut = if *after { Cut::After(*at) } else { Cut::Before(*at) };
                self.new_message("contain", Some(cut)).await
            }
            Happening::Drift { watched } => {
                self.world.with(|state| {
                    // A user whom IAM refuses AWSDenyAll would not get it back, were it somebody else's.
                    if !state.refuse.contains_key("AttachUserPolicy") {
                        state.attached.retain(|arn| arn != DENY_ALL);
                    }
                    state
                        .inline
                        .retain(|name, text| name != INLINE || text.contains("theirs"));
                });
                if *watched {
                    self.watch().await;
                    self
                } else {
                    self.new_message("contain", None).await
                }
            }
            Happening::Watch => {
                self.watch().await;
                self
            }
            Happening::Stranger(number) => {
                self.world.with(|state| {
                    if !state.attached.contains(&policy(*number)) {
                        state.attached.push(policy(*number));
                    }
                });
                self
            }
        }
    }
}

fn policy(number: u8) -> String {
    format!("arn:aws:iam::222222222222:policy/p{number}")
}

/// Plays a history, released at its end, and says how the user then is and how it should be.
async fn play(before: &Before, happenings: &[Happening], release: Option<Cut>) {
    let mut history = History::begin(before).await.new_message("contain", None).await;
    for happening in happenings {
        history = history.go_on(happening).boxed_local().await;
        let locked = history.world.with(|state| {
            let inline = state.inline.get(INLINE).is_some_and(|text| !text.contains("theirs"));
            inline || state.attached.iter().any(|arn| arn == DENY_ALL)
        });
        assert!(locked, "open after {happening:?}");
    }
    history = history.new_message("release", release).await;
    // A copy of the release, and one of an older message, change nothing.
    history = history.deliver("release", None).await;
    let (mut attached, inline) = history
        .world
        .with(|state| (state.attached.clone(), state.inline.clone()));
    let strangers = happenings.iter().filter_map(|happening| match happening {
        Happening::Stranger(number) => Some(policy(*number)),
        _ => None,
    });
    let mut wanted: Vec<String> = (0..before.policies).map(policy).chain(strangers).collect();
    wanted.extend(before.denied.then(|| DENY_ALL.to_owned()));
    wanted.sort();
    wanted.dedup();
    attached.sort();
    assert_eq!(attached, wanted);
    let theirs: Vec<&String> = inline.values().collect();
    assert_eq!(theirs.len(), usize::from(before.inline), "{inline:?}");
    assert!(theirs.iter().all(|text| text.contains("theirs")), "{inline:?}");
    let stored = history.deps.journal.load("aws/222222222222/-/iam-user/alice").await;
    let stored = stored.expect("a journal").expect("a record");
    assert!(!stored.record.is_open() && stored.lease.is_none(), "{stored:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn contained_however_often_and_released_once_is_as_before(
        before in before(),
        happenings in vec(happening(), 0..7),
        release in proptest::option::of((1_usize..8, any::<bool>())),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let release = release.map(|(at, after)| if after { Cut::After(at) } else { Cut::Before(at) });
        runtime.block_on(play(&before, &happenings, release).boxed_local());
    }
}
