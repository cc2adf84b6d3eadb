//! How often each rule matched, when, and about whom.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use entity_lockdown::event::Event;
use entity_lockdown::event::named::{Named, named};
use entity_lockdown::moment::Moment;
use entity_lockdown::rules::{Clause, RuleSet};
use serde::Serialize;

/// How many entities are kept of each rule, so that memory stays flat.
const MOST_ENTITIES: usize = 1000;

/// What a suppression does, in the place of an action.
const SUPPRESS: &str = "suppress";

/// What all events came to.
#[derive(Debug)]
pub struct Tally<'r> {
    set: &'r RuleSet,
    now: Moment,
    rows: HashMap<&'r str, Row<'r>>,
    /// All entities, each text once.
    known: HashSet<Rc<str>>,
    /// How many events were judged.
    pub events: u64,
    /// How many of those that matched the function would never act on.
    pub closed: u64,
}

/// What one rule came to, as programs read it.
#[derive(Debug, Serialize)]
pub struct Row<'r> {
    /// The rule's name.
    pub name: &'r str,
    /// How many events it matched.
    pub count: u64,
    /// The earliest of them.
    pub first: Option<Moment>,
    /// The latest of them.
    pub last: Option<Moment>,
    /// About whom, at most [`MOST_ENTITIES`].
    pub entities: BTreeSet<Rc<str>>,
    /// What it does.
    pub action: &'r str,
    /// The order of rows: the strongest first.
    #[serde(skip)]
    strength: u8,
    /// There were more entities than are kept.
    #[serde(skip)]
    pub more: bool,
}

impl<'r> Tally<'r> {
    /// Nothing yet.
    pub fn new(set: &'r RuleSet, now: Moment) -> Self {
        Self {
            set,
            now,
            rows: HashMap::new(),
            known: HashSet::new(),
            events: 0,
            closed: 0,
        }
    }

    /// Judges one event. One that is suppressed counts for its suppressions alone.
    pub fn judge(&mut self, event: &Event<'_>) {
        self.events += 1;
        let decision = self.set.decide(event, self.now);
        if decision.suppressed_by.is_empty() && decision.matched.is_empty() {
            return;
        }
        self.closed += u64::from(event.never_acted_on().is_some());
        let (time, named) = (event.time(), named(event));
        for suppression in &decision.suppressed_by {
            self.count(&suppression.clause, SUPPRESS, u8::MAX, time, named.iter());
        }
        if decision.suppressed_by.is_empty() {
            for rule in decision.matched {
                let meant = named.iter().filter(|named| rule.whom.means(named.part));
                self.count(&rule.clause, rule.response.name(), rule.response as u8, time, meant);
            }
        }
    }

    fn count<'n>(
        &mut self,
        clause: &'r Clause,
        action: &'r str,
        strength: u8,
        time: Option<Moment>,
        named: impl Iterator<Item = &'n Named>,
    ) {
        let row = self.rows.entry(&clause.name).or_insert_with(|| Row {
            name: &clause.name,
            count: 0,
            first: None,
            last: None,
            entities: BTreeSet::new(),
            action,
            strength,
            more: false,
        });
        row.count += 1;
        row.first = row.first.into_iter().chain(time).min();
        row.last = row.last.into_iter().chain(time).max();
        for named in named {
            let text = named.subject.to_string();
            if row.entities.contains(text.as_str()) {
                continue;
            }
            if row.entities.len() == MOST_ENTITIES {
                row.more = true;
                continue;
            }
            let text: Rc<str> = text.into();
            let known = self.known.get(&text).cloned().unwrap_or(text);
            self.known.insert(known.clone());
            row.entities.insert(known);
        }
    }

    /// The rules that matched anything: those with the strongest action first, then those that matched most.
    pub fn rows(self) -> Vec<Row<'r>> {
        let mut rows: Vec<Row<'r>> = self.rows.into_values().collect();
        rows.sort_by(|one, other| {
            (other.strength, other.count)
                .cmp(&(one.strength, one.count))
                .then_with(|| one.name.cmp(other.name))
        });
        rows
    }
}
