//! What is done about an event: a pure function of rules, event and time.
//!
//! Suppressions come first. All rules that match are reported, and the strongest response wins; for one entity, the strongest of
//! the rules that mean its part in the event. Neither the guard nor the tags of an entity are known here: both can only make it
//! weaker ([`Response::under_tag`]).

use std::collections::BTreeSet;

use super::condition::{Condition, Literal, Path, Test};
use super::index::Index;
use super::rule::{Clause, Response, Rule, Suppression};
use crate::event::Event;
use crate::event::named::Part;
use crate::moment::Moment;

/// Rules and suppressions that are applied together.
#[derive(Debug, Clone)]
pub struct RuleSet {
    rules: Vec<Rule>,
    suppressions: Vec<Suppression>,
    /// Suppressions are numbered first, rules behind them.
    index: Index,
}

/// What rules say about one event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision<'r> {
    /// The suppressions that apply: with any of them nothing is done.
    pub suppressed_by: Vec<&'r Suppression>,
    /// The rules that match, in the order of the files; also if the event is suppressed.
    pub matched: Vec<&'r Rule>,
}

impl RuleSet {
    /// Puts rules together. Their names must be unique, as [`RuleSet::load`] sees to.
    pub fn new(rules: Vec<Rule>, suppressions: Vec<Suppression>) -> Self {
        let clauses = suppressions
            .iter()
            .map(|one| &one.clause)
            .chain(rules.iter().map(|one| &one.clause));
        let enabled = clauses.enumerate().filter(|(_, clause)| clause.enabled);
        let index = Index::new(enabled.map(|(number, clause)| (number, &clause.condition)));
        Self {
            rules,
            suppressions,
            index,
        }
    }

    /// All rules, in the order of the files.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// All suppressions, in the order of the files.
    pub fn suppressions(&self) -> &[Suppression] {
        &self.suppressions
    }

    /// All clauses, suppressions first.
    pub fn clauses(&self) -> impl Iterator<Item = &Clause> {
        let suppressions = self.suppressions.iter().map(|one| &one.clause);
        suppressions.chain(self.rules.iter().map(|one| &one.clause))
    }

    /// What is to be done about an event at this time.
    pub fn decide(&self, event: &Event<'_>, now: Moment) -> Decision<'_> {
        let mut decision = Decision::default();
        for number in self.index.candidates(event) {
            match number.checked_sub(self.suppressions.len()) {
                None => {
                    let one = self
                        .suppressions
                        .get(number)
                        .filter(|one| one.clause.matches(event, now));
                    decision.suppressed_by.extend(one);
                }
                Some(number) => {
                    let one = self.rules.get(number).filter(|one| one.clause.matches(event, now));
                    decision.matched.extend(one);
                }
            }
        }
        decision
    }

    /// The services that enabled rules name, as CloudTrail writes them (`ssm.amazonaws.com`): what EventBridge must be asked for. A
    /// rule that names none gets the events of these alone.
    pub fn event_sources(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for rule in self.rules.iter().filter(|rule| rule.clause.enabled) {
            collect_sources(&rule.clause.condition, &mut found);
        }
        found
    }
}

fn collect_sources(condition: &Condition, found: &mut BTreeSet<String>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| collect_sources(part, found)),
        Condition::Test(path, Test::In(literals)) => {
            let texts = literals.iter().filter_map(|literal| match literal {
                Literal::Text(text) => Some(text),
                Literal::Number(_) | Literal::Bool(_) | Literal::Null => None,
            });
            if *path == Path::here(&["eventSource"]) {
                found.extend(texts.cloned());
            } else if *path == Path::envelope(&["source"]) {
                let services = texts.filter_map(|text| text.strip_prefix("aws."));
                let services = services.filter(|service| !["guardduty", "securityhub"].contains(service));
                found.extend(services.map(|service| format!("{service}.amazonaws.com")));
            }
        }
        Condition::Not(_) | Condition::Has(..) | Condition::Test(..) => {}
    }
}

impl<'r> Decision<'r> {
    /// The strongest response of all; `Ignore` where nothing matched or the event is suppressed.
    pub fn response(&self) -> Response {
        self.strongest(|_| true)
    }

    /// The strongest response to an entity with this part in the event.
    pub fn response_to(&self, part: Part) -> Response {
        self.strongest(|rule| rule.whom.means(part))
    }

    fn strongest(&self, means: impl Fn(&Rule) -> bool) -> Response {
        if !self.suppressed_by.is_empty() {
            return Response::Ignore;
        }
        let responses = self.matched.iter().filter(|rule| means(rule)).map(|rule| rule.response);
        responses.max().unwrap_or(Response::Ignore)
    }

    /// The severity: the highest (1) of the rules that match.
    pub fn severity(&self) -> Option<u8> {
        self.matched.iter().map(|rule| rule.severity).min()
    }

    /// Whose rules match, each once.
    pub fn owners(&self) -> BTreeSet<&'r str> {
        self.matched
            .iter()
            .filter_map(|rule| rule.clause.owner.as_deref())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::json::Json;
    use crate::event::recognise::recognise;

    const RULES: &str = r#"
[[rule]]
name = "any"
title = "t"
severity = 3
when = 'eventName exists'
action = "ignore"
[[rule]]
name = "notify"
title = "t"
severity = 2
when = 'eventName = "SendCommand"'
action = "notify"
owner = "platform"
[[rule]]
name = "contain"
title = "t"
severity = 1
when = 'eventSource = "ssm.amazonaws.com" and userIdentity.type = "IAMUser"'
action = "contain"
entities = "principal"
[[rule]]
name = "off"
title = "t"
severity = 1
when = 'eventName exists'
action = "contain"
entities = "all"
enabled = false
[[rule]]
name = "old"
title = "t"
severity = 1
when = 'eventName exists'
action = "plan"
entities = "all"
expires = 2026-01-01
[[suppress]]
name = "scanner"
when = 'sourceIPAddress = "192.0.2.1"'
reason = "ours"
expires = 2026-12-31
"#;

    fn set() -> RuleSet {
        RuleSet::of_files([("rules.toml", RULES)]).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn at(time: &str) -> Moment {
        time.parse().expect("a time")
    }

    /// The names that a decision on a record with these fields has, and its responses: of all, to principals, to resources.
    fn decided(fields: &str, time: &str) -> (Vec<String>, Vec<String>, [Response; 3]) {
        let text = format!(r#"{{"eventSource": "ssm.amazonaws.com", {fields}}}"#);
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        let event = events.first().and_then(|event| event.as_ref().ok()).expect("an event");
        let set = set();
        let decision = set.decide(event, at(time));
        (
            decision.matched.iter().map(|rule| rule.clause.name.clone()).collect(),
            decision
                .suppressed_by
                .iter()
                .map(|one| one.clause.name.clone())
                .collect(),
            [
                decision.response(),
                decision.response_to(Part::Principal),
                decision.response_to(Part::Resource),
            ],
        )
    }

    const NOW: &str = "2026-11-22T00:00:00Z";
    const USER: &str = r#""eventName": "SendCommand", "userIdentity": {"type": "IAMUser"}"#;

    #[test]
    fn all_rules_that_match_are_reported_and_the_strongest_wins_for_whom_it_means() {
        let (matched, _, responses) = decided(USER, NOW);
        assert_eq!(matched, ["any", "notify", "contain"]);
        assert_eq!(responses, [Response::Contain, Response::Contain, Response::Notify]);
        let (matched, _, responses) = decided(r#""eventName": "X""#, NOW);
        assert_eq!((matched.len(), responses), (1, [Response::Ignore; 3]));
    }

    #[test]
    fn a_suppression_comes_before_every_rule_until_it_expires() {
        let fields = format!(r#"{USER}, "sourceIPAddress": "192.0.2.1""#);
        let (matched, suppressed, responses) = decided(&fields, NOW);
        assert_eq!((matched.len(), suppressed.as_slice()), (3, &["scanner".to_owned()][..]));
        assert_eq!(responses, [Response::Ignore; 3]);
        let (_, suppressed, responses) = decided(&fields, "2026-12-31T23:59:59Z");
        assert_eq!((suppressed.len(), responses), (1, [Response::Ignore; 3]));
        let (_, suppressed, [response, ..]) = decided(&fields, "2027-01-01T00:00:00Z");
        assert_eq!((suppressed.len(), response), (0, Response::Contain));
    }

    #[test]
    fn what_is_off_or_expired_matches_nothing() {
        let (matched, ..) = decided(r#""eventName": "X""#, "2025-06-01T00:00:00Z");
        assert_eq!(matched, ["any", "old"]);
        let (matched, ..) = decided(r#""eventName": "X""#, "2026-01-02T00:00:00Z");
        assert_eq!(matched, ["any"]);
    }

    #[test]
    fn severity_owners_and_sources_are_those_of_the_rules() {
        let set = set();
        let decision = Decision {
            matched: set.rules().iter().take(3).collect(),
            ..Decision::default()
        };
        assert_eq!(decision.severity(), Some(1));
        assert_eq!(decision.owners().into_iter().collect::<Vec<_>>(), ["platform"]);
        assert_eq!(
            set.event_sources().into_iter().collect::<Vec<_>>(),
            ["ssm.amazonaws.com"]
        );
    }
}
