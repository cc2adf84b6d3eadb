//! Faults that a test asks for.
//!
//! A rule matches by `service`, `action`, `contains` (in path and decoded body) and `caller` (in the caller's ARN, if the proxy
//! saw the session being made, or else in path and body; each optional), leaves the first `skip` matching calls alone and then
//! hits `count` times (absent: always). With `per_second` so many matching calls a second are left alone, and only the others
//! hit: a limit, as AWS has them. `fault` says what happens:
//! `lose` (the answer of a success, nothing forwarded; `body` replaces the answer), `refuse` (`status`, `code`, `message`),
//! `throttle`, `delay` (`ms`; later rules still apply), `cut` (connection closed, nothing forwarded), `cut_after` (forwarded,
//! then closed), `hold` (kept until the rule is removed or the caller is gone, then closed, nothing forwarded) and `hold_after`
//! (forwarded, then kept and closed likewise). `held` lists the ports of the callers whose calls are or were kept: whose process
//! is killed then dies at that call.
//!
//! Some rules hit no call but say how the resource that `contains` names (its id, exactly) is to be seen as long as they stand:
//! `requester_managed` (an interface of AWS's own), `interface_type` (`value`: `nat_gateway`, `trunk`, ...), `instance_state`
//! (`value`: `stopping`, `pending`, ...), `lifecycle_state` of a member of an Auto Scaling group (`value`: `EnteringStandby`,
//! ...) and `acl_quota` of a network ACL (`value`: rules of one direction and address family, the closing deny among them).
//! What AWS refuses of such a resource is refused.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::call::Call;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The answer of a success, without the change.
    Lose,
    /// An error.
    Refuse,
    /// The service's own word for too many calls.
    Throttle,
    /// A pause before the call goes on.
    Delay,
    /// The connection closed before the change.
    Cut,
    /// The connection closed after the change.
    CutAfter,
    /// Kept before the change until the rule is gone, then the connection closed.
    Hold,
    /// Kept after the change until the rule is gone, then the connection closed.
    HoldAfter,
    /// An interface of a load balancer and the like.
    RequesterManaged,
    /// An interface of another type.
    InterfaceType,
    /// An instance in another state.
    InstanceState,
    /// A member of an Auto Scaling group in another state.
    LifecycleState,
    /// A network ACL with another quota.
    AclQuota,
}

impl Fault {
    /// Whether it says how a resource is seen, and hits no call.
    fn is_appearance(self) -> bool {
        match self {
            Self::RequesterManaged
            | Self::InterfaceType
            | Self::InstanceState
            | Self::LifecycleState
            | Self::AclQuota => true,
            Self::Lose
            | Self::Refuse
            | Self::Throttle
            | Self::Delay
            | Self::Cut
            | Self::CutAfter
            | Self::Hold
            | Self::HoldAfter => false,
        }
    }
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Given by the proxy.
    #[serde(default)]
    pub id: u64,
    /// What happens.
    pub fault: Fault,
    /// The signing name to match.
    pub service: Option<String>,
    /// The operation to match.
    pub action: Option<String>,
    /// Text that path or body must hold.
    pub contains: Option<String>,
    /// Text that the caller's ARN must hold; of a caller that the proxy doesn't know, path or body.
    pub caller: Option<String>,
    /// Matching calls still to leave alone.
    #[serde(default)]
    pub skip: u32,
    /// Hits left; absent: no limit.
    pub count: Option<u32>,
    /// Matching calls that are left alone in each second, as many of them at once.
    pub per_second: Option<u32>,
    /// How many may come at this moment, and when that was so (a token bucket).
    #[serde(skip)]
    bucket: Option<(f64, Instant)>,
    /// Hits so far.
    #[serde(default)]
    pub hits: u32,
    /// `hold`, `hold_after`: the callers' ports of the calls kept so far.
    #[serde(default)]
    pub held: Vec<u16>,
    /// `refuse`: the HTTP status.
    pub status: Option<u16>,
    /// `refuse`: the error code.
    pub code: Option<String>,
    /// `refuse`: the message.
    pub message: Option<String>,
    /// `lose`: the answer.
    pub body: Option<String>,
    /// `delay`: milliseconds.
    #[serde(default)]
    pub ms: u64,
    /// How the resource is seen: its type, its state or its quota.
    pub value: Option<String>,
}

impl Rule {
    fn matches(&self, call: &Call, caller: Option<&str>) -> bool {
        let equal = |want: &Option<String>, have: &str| want.as_ref().is_none_or(|want| want == have);
        equal(&self.service, &call.service)
            && equal(&self.action, &call.action)
            && self.contains.as_ref().is_none_or(|want| call.text.contains(want))
            && self
                .caller
                .as_ref()
                .is_none_or(|want| caller.unwrap_or(&call.text).contains(want))
    }

    /// Counts a matching call; true if it is to be hit.
    fn hit(&mut self, now: Instant) -> bool {
        if self.is_within_limit(now) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.count {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        self.hits += 1;
        true
    }
}

impl Rule {
    /// Whether the limit of calls a second lets this one through.
    fn is_within_limit(&mut self, now: Instant) -> bool {
        let Some(limit) = self.per_second.map(f64::from) else {
            return false;
        };
        let (left, then) = self.bucket.unwrap_or((limit, now));
        let left = (left + now.saturating_duration_since(then).as_secs_f64() * limit).min(limit);
        let within = left >= 1.0;
        self.bucket = Some((if within { left - 1.0 } else { left }, now));
        within
    }
}

/// All rules in force.
#[derive(Default)]
pub struct Rules {
    inner: Mutex<(u64, Vec<Rule>)>,
}

impl Rules {
    fn with<T>(&self, work: impl FnOnce(&mut u64, &mut Vec<Rule>) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, rules) = &mut *inner;
        work(last, rules)
    }

    /// Adds a rule and returns its id.
    pub fn add(&self, mut rule: Rule) -> u64 {
        self.with(|last, rules| {
            *last += 1;
            rule.id = *last;
            rules.push(rule);
            *last
        })
    }

    /// Removes a rule, if it is there.
    pub fn remove(&self, id: u64) {
        self.with(|_, rules| rules.retain(|rule| rule.id != id));
    }

    /// Notes that a rule keeps a call from a port now.
    pub fn holds(&self, id: u64, port: u16) {
        self.with(|_, rules| {
            if let Some(rule) = rules.iter_mut().find(|rule| rule.id == id) {
                rule.held.push(port);
            }
        });
    }

    /// Whether a rule is still there.
    pub fn stands(&self, id: u64) -> bool {
        self.with(|_, rules| rules.iter().any(|rule| rule.id == id))
    }

    /// Removes all.
    pub fn clear(&self) {
        self.with(|_, rules| rules.clear());
    }

    /// All, with their counts.
    pub fn all(&self) -> Vec<Rule> {
        self.with(|_, rules| rules.clone())
    }

    /// The rules that hit this call: delays in their order, then at most one fault that ends it.
    pub fn hits(&self, call: &Call, caller: Option<&str>) -> Vec<Rule> {
        let now = Instant::now();
        self.with(|_, rules| {
            let mut found = Vec::new();
            for rule in rules.iter_mut().filter(|rule| !rule.fault.is_appearance()) {
                if rule.matches(call, caller) && rule.hit(now) {
                    found.push(rule.clone());
                    if rule.fault != Fault::Delay {
                        break;
                    }
                }
            }
            found
        })
    }

    /// How resources are to be seen right now.
    pub fn appearances(&self) -> Appearances {
        self.with(|_, rules| {
            Appearances(
                rules
                    .iter()
                    .filter(|rule| rule.fault.is_appearance())
                    .cloned()
                    .collect(),
            )
        })
    }
}

/// How resources are to be seen; of two rules for one resource the newer counts.
pub struct Appearances(Vec<Rule>);

impl Appearances {
    fn find(&self, fault: Fault, id: &str) -> Option<&Rule> {
        let about = |rule: &&Rule| rule.fault == fault && rule.contains.as_deref() == Some(id);
        self.0.iter().rev().find(about)
    }

    fn value(&self, fault: Fault, id: &str) -> Option<String> {
        self.find(fault, id)?.value.clone()
    }

    /// Whether an interface is said to be requester-managed.
    pub fn requester_managed(&self, interface: &str) -> bool {
        self.find(Fault::RequesterManaged, interface).is_some()
    }

    /// The type that an interface is said to be of.
    pub fn interface_type(&self, interface: &str) -> Option<String> {
        self.value(Fault::InterfaceType, interface)
    }

    /// The state that an instance is said to be in.
    pub fn instance_state(&self, instance: &str) -> Option<String> {
        self.value(Fault::InstanceState, instance)
    }

    /// The state that a member of an Auto Scaling group is said to be in.
    pub fn lifecycle_state(&self, instance: &str) -> Option<String> {
        self.value(Fault::LifecycleState, instance)
    }

    /// How many rules of a direction and an address family a network ACL is said to take.
    pub fn acl_quota(&self, acl: &str) -> Option<usize> {
        self.value(Fault::AclQuota, acl)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_lets_so_many_a_second_through_and_hits_the_rest() {
        let mut rule: Rule = serde_json::from_str(r#"{"fault": "throttle", "per_second": 20}"#).expect("a rule");
        let start = Instant::now();
        let mut hits = |after: u64, calls: usize| {
            let now = start + Duration::from_millis(after);
            (0..calls).filter(|_| rule.hit(now)).count()
        };
        assert_eq!(hits(0, 30), 10);
        assert_eq!(hits(100, 5), 3, "two more came in a tenth of a second");
        assert_eq!(hits(60_000, 30), 10, "a long pause saves no more than a second's");
    }
}
