//! Why a retry can help: what failed for a reason that passes.

/// The reasons, in the order in which they came up. One that several steps have is there once: a read that fails for each interface of
/// an instance is one thing to say.
#[derive(Debug, Default)]
pub(crate) struct Passing(Vec<String>);

impl Passing {
    /// Adds a reason.
    pub(crate) fn add(&mut self, reason: String) {
        if !self.0.contains(&reason) {
            self.0.push(reason);
        }
    }

    /// Takes a reason out that is none any more.
    pub(crate) fn remove(&mut self, reason: &str) {
        self.0.retain(|one| one != reason);
    }

    /// All of them in one line; none if a retry can't help.
    pub(crate) fn line(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_comes_up_again_is_said_once() {
        let mut passing = Passing::default();
        assert_eq!(passing.line(), None);
        for reason in ["throttled", "cut", "throttled"] {
            passing.add(reason.to_owned());
        }
        assert_eq!(passing.line().as_deref(), Some("throttled; cut"));
    }

    #[test]
    fn a_reason_that_is_none_any_more_is_no_longer_said() {
        let mut passing = Passing::default();
        passing.add("throttled".to_owned());
        passing.add("throttled".to_owned());
        passing.remove("throttled");
        assert_eq!(passing.line(), None);
    }
}
