//! Follows requests in the journal until each has ended: `publish --wait`.

use std::time::Duration;

use entity_lockdown::aws::Reason;
use entity_lockdown::entity::Entity;
use entity_lockdown::journal::{Journal, JournalError, Stored};
use entity_lockdown::moment::Moment;
use entity_lockdown::notice::Stage;
use entity_lockdown::record::Record;
use futures_util::StreamExt;
use futures_util::stream::iter;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::aws::journal_trouble;
use crate::screen::{Screen, clean};
use crate::standing;
use crate::trouble::{Exit, Trouble};

/// How often the journal is asked at first, when most requests end.
const OFTEN: Duration = Duration::from_millis(500);

/// How often it is asked later.
const SELDOM: Duration = Duration::from_secs(2);

/// How long "at first" is.
const AT_FIRST: Duration = Duration::from_secs(20);

/// How many records are read at once.
const AT_ONCE: usize = 8;

/// One request to follow.
#[derive(Debug)]
pub struct Watch {
    /// The entity.
    pub entity: Entity,
    /// The message that asks.
    pub message: String,
    standing: String,
}

impl Watch {
    /// The request of this message for this entity.
    pub fn new(entity: Entity, message: String) -> Self {
        let standing = String::new();
        Self {
            entity,
            message,
            standing,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum End {
    /// A newer request was decided first.
    Overtaken,
    /// Not within the time.
    TimedOut,
    /// With this notice.
    #[serde(untagged)]
    Stage(Stage),
}

/// One request, followed to its end, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    entity: String,
    message_id: String,
    end: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    containment_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stays_open: Vec<String>,
}

/// What all ends together amount to: the worst of them.
pub fn exit_of(all: &[Followed]) -> Exit {
    let one = |followed: &Followed| match followed.end {
        End::Stage(Stage::Contained | Stage::Released | Stage::Unchanged | Stage::Planned | Stage::Notified) => {
            Exit::Done
        }
        End::Stage(Stage::Partial | Stage::Drifted) => Exit::Partial,
        End::Stage(Stage::Failed | Stage::Refused | Stage::Started) | End::Overtaken => Exit::Failed,
        End::TimedOut => Exit::TimedOut,
    };
    let exits: Vec<Exit> = all.iter().map(one).collect();
    let worst = [Exit::Failed, Exit::TimedOut, Exit::Partial]
        .into_iter()
        .find(|exit| exits.contains(exit));
    worst.unwrap_or(Exit::Done)
}

/// Follows all requests; each end is shown as it comes (for programs it is said on standard error).
///
/// # Errors
/// The journal can't be read, and waiting would not help.
pub async fn follow(
    journal: &Journal,
    watches: Vec<Watch>,
    timeout: Duration,
    screen: &mut Screen,
    json: bool,
) -> Result<Vec<Followed>, Trouble> {
    let mut progress = Progress::new(screen, json, watches.len());
    let began = Instant::now();
    let (mut open, mut ended) = (watches, Vec::new());
    let mut last_failure = None;
    loop {
        let looks = iter(open)
            .map(|watch| look(journal, watch))
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        open = Vec::new();
        for (mut watch, look) in looks {
            match look {
                Ok(Look::Ended(followed)) => {
                    progress.ended(&followed);
                    ended.push(followed);
                }
                Ok(Look::Open(standing)) => {
                    if watch.standing != standing {
                        progress.moved(&watch, &standing);
                        watch.standing = standing;
                    }
                    open.push(watch);
                }
                Err(error) if passes(&error) => {
                    last_failure = Some(error);
                    open.push(watch);
                }
                Err(error) => return Err(journal_trouble(&error)),
            }
        }
        if open.is_empty() || began.elapsed() >= timeout {
            break;
        }
        let pause = if began.elapsed() < AT_FIRST { OFTEN } else { SELDOM };
        sleep(pause.min(timeout.saturating_sub(began.elapsed()))).await;
    }
    for watch in open {
        progress.timed_out(&watch, timeout, last_failure.as_ref());
        ended.push(Followed {
            entity: watch.entity.named.to_string(),
            message_id: watch.message,
            end: End::TimedOut,
            containment_id: None,
            left: vec![],
            stays_open: vec![],
        });
    }
    progress.finish();
    Ok(ended)
}

/// Whether the next look may succeed.
fn passes(error: &JournalError) -> bool {
    match error {
        JournalError::Unreachable(failure) => failure.reason == Reason::Passing,
        JournalError::Conflict | JournalError::Busy | JournalError::Changed(_) => true,
        JournalError::Unreadable { .. } => false,
    }
}

enum Look {
    Ended(Followed),
    Open(String),
}

async fn look(journal: &Journal, watch: Watch) -> (Watch, Result<Look, JournalError>) {
    let found = journal.load(&watch.entity.key()).await;
    let look = found.map(|stored| judge(stored.as_ref(), &watch, Moment::now()));
    (watch, look)
}

/// What the record says of the request.
fn judge(stored: Option<&Stored>, watch: &Watch, now: Moment) -> Look {
    let nothing = || Look::Open(String::new());
    let Some(stored) = stored else { return nothing() };
    let record = &stored.record;
    let Some(at) = record.messages.iter().position(|seen| seen.id == watch.message) else {
        return nothing();
    };
    let ended = record.messages.get(at).and_then(|seen| seen.ended);
    let overtaken = || record.messages.iter().skip(at + 1).any(|later| later.ended.is_some());
    match ended {
        Some(stage) => Look::Ended(followed(record, watch, End::Stage(stage))),
        None if overtaken() => Look::Ended(followed(record, watch, End::Overtaken)),
        None => Look::Open(format!(
            "{}, {}",
            standing::stage(stored, now),
            standing::progress(record)
        )),
    }
}

fn followed(record: &Record, watch: &Watch, end: End) -> Followed {
    let trouble = end != End::Stage(Stage::Contained) && end != End::Stage(Stage::Released);
    Followed {
        entity: record.entity.to_string(),
        message_id: watch.message.clone(),
        end,
        containment_id: Some(record.containment.to_string()),
        left: if trouble { standing::left(record) } else { vec![] },
        stays_open: if trouble { record.residue.clone() } else { vec![] },
    }
}

/// What can be seen meanwhile: one line that moves on a terminal, else a line for each change.
struct Progress<'a> {
    screen: &'a mut Screen,
    json: bool,
    bar: Option<ProgressBar>,
    all: usize,
    ended: usize,
}

impl<'a> Progress<'a> {
    fn new(screen: &'a mut Screen, json: bool, all: usize) -> Self {
        let bar = screen.lively.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_message("waiting for the function");
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            screen,
            json,
            bar,
            all,
            ended: 0,
        }
    }

    fn moved(&mut self, watch: &Watch, standing: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(clean(&format!(
                "{} of {} ended; {}: {standing}",
                self.ended, self.all, watch.entity
            ))),
            None => self.screen.say(&format!("{}: {standing}", watch.entity.named)),
        }
    }

    fn ended(&mut self, followed: &Followed) {
        self.ended += 1;
        let mut lines = vec![match followed.end {
            End::Stage(stage) => format!("{stage}: {}", followed.entity),
            End::Overtaken => format!(
                "Overtaken: {}: a newer request for it was decided first; this one was dropped",
                followed.entity
            ),
            End::TimedOut => String::new(),
        }];
        if let Some(id) = &followed.containment_id {
            lines.push(format!("  containment {id}"));
        }
        lines.extend(followed.left.iter().map(|left| format!("  NOT done: {left}")));
        lines.extend(followed.stays_open.iter().map(|open| format!("  stays open: {open}")));
        self.print(&lines.join("\n"));
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} of {} ended", self.ended, self.all));
        }
    }

    fn timed_out(&mut self, watch: &Watch, timeout: Duration, failure: Option<&JournalError>) {
        let entity = &watch.entity.named;
        let seconds = timeout.as_secs();
        let text = match (watch.standing.is_empty(), failure) {
            (false, _) => format!(
                "Not ended: {entity}: after {seconds} s it is {}. The function goes on, and its notice will say how it ends",
                watch.standing
            ),
            (true, Some(error)) => format!(
                "Unknown: {entity}: the journal could not be read: {}",
                journal_trouble(error)
            ),
            (true, None) => format!(
                "Unknown: {entity}: the journal has no record of the message {} after {seconds} s. Either the request was refused \
                 (a wrong ExternalId, a protected entity, a wrong path: see the Refused notice by mail), or it could not be \
                 journalled (the notice says UNJOURNALLED), or the function has not run (see its log, and the dead-letter queue), \
                 or --table names another hub's journal",
                watch.message
            ),
        };
        self.print(&text);
    }

    fn print(&mut self, text: &str) {
        let (screen, json) = (&mut *self.screen, self.json);
        let mut print = || if json { screen.say(text) } else { screen.show(text) };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use entity_lockdown::journal::memory::Memory;
    use entity_lockdown::record::{Status, StepState};
    use entity_lockdown::request::Action;

    use super::*;
    use crate::screen::tests::paper;
    use crate::standing::tests::{at, request, stored};

    fn watch(name: &str) -> Watch {
        Watch::new(
            format!("arn:aws:iam::222222222222:user/{name}")
                .parse()
                .expect("an entity"),
            "m1".to_owned(),
        )
    }

    async fn followed_in(journal: &Journal, names: &[&str]) -> (Vec<Followed>, String) {
        followed_for(Duration::from_millis(700), journal, names).await
    }

    async fn followed_for(patience: Duration, journal: &Journal, names: &[&str]) -> (Vec<Followed>, String) {
        let (mut screen, out, _) = paper();
        let watches = names.iter().map(|name| watch(name)).collect();
        let ended = follow(journal, watches, patience, &mut screen, false)
            .await
            .expect("ends");
        (ended, out.text())
    }

    #[tokio::test]
    async fn each_request_is_followed_to_its_own_end() {
        let journal = Journal::Memory(Memory::default());
        let bob = stored("bob", Status::Partial, StepState::Failed, Some(Stage::Partial));
        journal.write(&bob, None, &[]).await.expect("a write");
        let begun = stored("alice", Status::Containing, StepState::Planned, None);
        journal.write(&begun, None, &[]).await.expect("a write");
        let later = async {
            sleep(Duration::from_millis(100)).await;
            let ended = stored("alice", Status::Contained, StepState::Applied, Some(Stage::Contained));
            journal.write(&ended, Some(2), &[]).await.expect("a write");
        };
        let ((ended, said), ()) = tokio::join!(
            followed_for(Duration::from_secs(60), &journal, &["alice", "bob"]),
            later
        );
        assert_eq!(exit_of(&ended), Exit::Partial);
        assert!(
            said.contains("Contained: arn:aws:iam::222222222222:user/alice"),
            "{said}"
        );
        assert!(
            said.contains("NOT done: attach AWSDenyAll to the user bob: iam:AttachUserPolicy: AccessDenied"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn without_a_record_the_timeout_says_what_may_have_happened() {
        let journal = Journal::Memory(Memory::default());
        let (ended, said) = followed_in(&journal, &["alice"]).await;
        assert_eq!(exit_of(&ended), Exit::TimedOut);
        assert!(
            said.contains("no record") && said.contains("see the Refused notice by mail"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn what_has_not_ended_says_where_it_stands() {
        let journal = Journal::Memory(Memory::default());
        let begun = stored("alice", Status::Containing, StepState::Planned, None);
        journal.write(&begun, None, &[]).await.expect("a write");
        let (ended, said) = followed_in(&journal, &["alice"]).await;
        assert_eq!(exit_of(&ended), Exit::TimedOut);
        assert!(said.contains("0 of 1 steps hold"), "{said}");
    }

    #[test]
    fn a_request_that_a_newer_one_overtook_has_ended() {
        let mut stored = stored("alice", Status::Released, StepState::Undone, None);
        let release = request("alice", Action::Release, "m2", 5);
        stored.record.seen_mut(&release).ended = Some(Stage::Released);
        match judge(Some(&stored), &watch("alice"), at(10)) {
            Look::Ended(followed) => assert_eq!(followed.end, End::Overtaken),
            Look::Open(standing) => panic!("{standing}"),
        }
    }

    #[test]
    fn the_worst_end_decides_the_exit_code() {
        let one = |end| Followed {
            entity: String::new(),
            message_id: String::new(),
            end,
            containment_id: None,
            left: vec![],
            stays_open: vec![],
        };
        let done = || one(End::Stage(Stage::Contained));
        for (ends, exit) in [
            (
                vec![
                    done(),
                    one(End::Stage(Stage::Unchanged)),
                    one(End::Stage(Stage::Released)),
                ],
                Exit::Done,
            ),
            (vec![done(), one(End::Stage(Stage::Partial))], Exit::Partial),
            (
                vec![one(End::TimedOut), one(End::Stage(Stage::Partial))],
                Exit::TimedOut,
            ),
            (vec![one(End::TimedOut), one(End::Stage(Stage::Failed))], Exit::Failed),
            (vec![done(), one(End::Overtaken)], Exit::Failed),
        ] {
            assert_eq!(exit_of(&ends), exit);
        }
        assert_eq!(
            serde_json::to_value(one(End::Stage(Stage::Contained))).expect("JSON")["end"],
            "Contained"
        );
    }
}
