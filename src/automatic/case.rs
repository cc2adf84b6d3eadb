//! What is to become of one entity of an event: what the rules say, and all that makes it less.

use crate::entities::Kind;
use crate::entity::Entity;
use crate::event::named::{Named, Part, Subject};
use crate::event::{Event, EventType};
use crate::guard::matches;
use crate::notice::report::Line;
use crate::rules::Response;
use crate::settings::Settings;

/// One entity of an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    /// As the event names it.
    pub(super) named: Named,
    /// The entity, once it is known.
    pub(super) entity: Option<Entity>,
    /// Whose it is, as its tag says.
    pub(super) owner: Option<String>,
    /// What is done.
    pub(super) response: Response,
    /// Why that is less than the rules say, in the order in which it was found.
    pub(super) said: Vec<String>,
    /// Whether people must hear of it: it should have been contained, and what kept it from that may be an intruder's doing.
    pub(super) raised: bool,
}

impl Case {
    /// What the event itself tells: where the entity may come from, and whether it is one at all.
    ///
    /// `response` is what the rules say, or the person who has sent the finding on: then it is that person's decision whose
    /// account and whose product it is.
    pub(super) fn of(
        event: &Event<'_>,
        named: Named,
        response: Response,
        by_person: bool,
        settings: &Settings,
    ) -> Self {
        let entity = match &named.subject {
            Subject::Entity(entity) => Some(entity.clone()),
            Subject::AccessKey { .. } | Subject::InstanceProfile(_) | Subject::Refused { .. } => None,
        };
        let mut case = Self {
            named,
            entity,
            owner: None,
            response,
            said: vec![],
            raised: false,
        };
        if let Subject::Refused { reason, .. } = &case.named.subject {
            let reason = reason.clone();
            case.weaken(reason);
        }
        if by_person {
            return case;
        }
        if case.named.foreign {
            let other = "it is of another account than the event, and anybody can write a finding that names anything";
            case.weaken(other.to_owned());
        }
        if !is_trusted(event, settings) {
            let product = event.product().unwrap_or("an unnamed product");
            case.weaken(format!(
                "the finding is by {product}, which is none of TrustedProducts, and anybody can import findings"
            ));
        }
        case
    }

    /// Nothing is done but to tell, for this reason.
    pub(super) fn weaken(&mut self, why: String) {
        if self.response > Response::Notify {
            self.response = Response::Notify;
            self.said.push(why);
        }
    }

    /// The same, and people must hear of it.
    pub(super) fn hold_back(&mut self, why: String) {
        self.raised |= self.response == Response::Contain;
        self.weaken(why);
    }

    /// The line about it in a notice.
    pub(super) fn line(&self) -> Line {
        let part = match self.named.part {
            Part::Principal => "principal",
            Part::Resource => "resource",
        };
        let done = match self.response {
            Response::Contain => "is being contained: a notice of its own says how it ends",
            Response::Plan => "a notice of its own says what containing it would do",
            Response::Notify | Response::Ignore => "nothing is done to it",
        };
        let why = std::iter::once(done.to_owned()).chain(self.said.iter().cloned());
        let what = match &self.entity {
            Some(entity) => entity.named.to_string(),
            None => self.named.subject.to_string(),
        };
        Line {
            what: format!("{what} ({part}: {})", self.named.why),
            at: None,
            why: Some(why.collect::<Vec<_>>().join("; ")),
        }
    }
}

/// Whether a finding is by a product whose word is enough. What CloudTrail and GuardDuty send in their own name is.
fn is_trusted(event: &Event<'_>, settings: &Settings) -> bool {
    match event.kind {
        EventType::CloudTrail | EventType::GuardDuty => true,
        EventType::SecurityHub | EventType::Ocsf => event.product().is_some_and(|product| {
            let trusted = &settings.trusted_products;
            trusted.iter().any(|pattern| matches(pattern, product, false))
        }),
    }
}

/// Leaves out what is locked with something else anyway: the role of an instance profile, when its instance is named as well. The
/// instance's containment denies that role to this instance alone; the whole role would take down whatever else runs with it.
pub(super) fn without_profiles_of_instances(named: Vec<Named>) -> Vec<Named> {
    let is_instance =
        |named: &Named| matches!(&named.subject, Subject::Entity(entity) if entity.kind == Kind::Instance);
    if !named.iter().any(is_instance) {
        return named;
    }
    let is_profile = |named: &Named| matches!(named.subject, Subject::InstanceProfile(_));
    named.into_iter().filter(|named| !is_profile(named)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::json::Json;
    use crate::event::named::named;
    use crate::event::recognise::recognise;
    use crate::settings::tests::settings;

    /// The responses to the entities of a finding of Security Hub by this product about this resource, and why they are less.
    fn cases(product: &str, resource: &str, by_person: bool) -> Vec<Case> {
        let text = format!(
            r#"{{"ProductArn": "{product}", "AwsAccountId": "222222222222", "Id": "f", "Region": "eu-west-1",
                 "Resources": [{{"Type": "AwsIamUser", "Id": "{resource}", "Region": "eu-west-1"}}]}}"#
        );
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        let event = events.first().and_then(|event| event.as_ref().ok()).expect("an event");
        named(event)
            .into_iter()
            .map(|named| Case::of(event, named, Response::Contain, by_person, &settings()))
            .collect()
    }

    const GUARDDUTY: &str = "arn:aws:securityhub:eu-west-1::product/aws/guardduty";
    const IMPORTED: &str = "arn:aws:securityhub:eu-west-1:222222222222:product/222222222222/default";
    const OWN: &str = "arn:aws:iam::222222222222:user/alice";
    const FOREIGN: &str = "arn:aws:iam::333333333333:user/alice";

    #[test]
    fn only_what_aws_says_of_an_accounts_own_entities_contains_by_itself() {
        for (product, resource, by_person, response, said) in [
            (GUARDDUTY, OWN, false, Response::Contain, ""),
            (GUARDDUTY, FOREIGN, false, Response::Notify, "another account"),
            (IMPORTED, OWN, false, Response::Notify, "TrustedProducts"),
            (IMPORTED, OWN, true, Response::Contain, ""),
            (IMPORTED, FOREIGN, true, Response::Contain, ""),
            (
                GUARDDUTY,
                "arn:aws:iam::222222222222:root",
                true,
                Response::Notify,
                "root",
            ),
        ] {
            let cases = cases(product, resource, by_person);
            assert_eq!(cases.len(), 1, "{resource}");
            let case = &cases[0];
            assert_eq!(case.response, response, "{product} {resource}");
            assert!(case.said.concat().contains(said), "{:?}", case.said);
            assert_eq!(case.said.is_empty(), said.is_empty(), "{:?}", case.said);
        }
    }

    #[test]
    fn a_product_that_only_looks_like_aws_own_is_not_trusted() {
        for product in [
            "arn:aws:securityhub:eu-west-1:222222222222:product/aws/guardduty",
            "arn:aws:securityhub:eu-west-1::product/evil/guardduty",
            "x arn:aws:securityhub:eu-west-1::product/aws/guardduty",
            "",
        ] {
            assert_eq!(cases(product, OWN, false)[0].response, Response::Notify, "{product}");
        }
    }

    #[test]
    fn what_is_held_back_is_raised_only_if_it_would_have_been_contained() {
        let mut case = cases(GUARDDUTY, OWN, false).remove(0);
        case.hold_back("its tag says never".to_owned());
        assert!(case.raised && case.response == Response::Notify);
        let mut case = cases(GUARDDUTY, FOREIGN, false).remove(0);
        case.hold_back("its tag says never".to_owned());
        assert!(!case.raised);
        assert_eq!(case.said.len(), 1);
    }
}
