//! `lockdown permissions`: what the member role must allow.

use std::collections::{BTreeMap, BTreeSet};

use entity_lockdown::automatic;
use entity_lockdown::entities::Kind;
use entity_lockdown::steps::Step;
use entity_lockdown::trail;
use serde::Serialize;

use crate::screen::{Screen, table};
use crate::trouble::{Exit, Trouble};

/// List what the member role must allow
///
/// These are the calls that surveys and steps make in a member account, as the code declares them. The template
/// cloudformation/member-role.yaml grants exactly these.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A JSON array of objects with `action` and `usedFor`
    #[arg(long)]
    json: bool,
}

/// One permission and all that it is needed for.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Needed {
    action: &'static str,
    used_for: BTreeSet<&'static str>,
}

/// All permissions, sorted, each once.
fn needed() -> Vec<Needed> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let all = Kind::permissions().into_iter().chain(Step::permissions());
    for permission in all
        .chain(trail::PERMISSIONS.iter().copied())
        .chain(automatic::permissions())
    {
        found.entry(permission.action).or_default().insert(permission.used_for);
    }
    found
        .into_iter()
        .map(|(action, used_for)| Needed { action, used_for })
        .collect()
}

/// Carries the verb out.
pub fn run(args: &Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let needed = needed();
    if args.json {
        screen.show_json(&needed)?;
        return Ok(Exit::Done);
    }
    let mut table = table(["ACTION", "USED FOR"], screen.width);
    for Needed { action, used_for } in needed {
        table.add_row([action.to_owned(), used_for.into_iter().collect::<Vec<_>>().join("; ")]);
    }
    screen.show(&table.trim_fmt());
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_named_once_with_all_its_uses() {
        let found = needed();
        let actions: BTreeSet<&str> = found.iter().map(|needed| needed.action).collect();
        assert_eq!(actions.len(), found.len());
        let user = found
            .iter()
            .find(|needed| needed.action == "iam:GetUser")
            .expect("iam:GetUser");
        assert!(user.used_for.len() > 1, "{user:?}");
        let json = serde_json::to_value(user).expect("JSON");
        assert!(json["usedFor"].is_array() && json["action"] == "iam:GetUser");
    }
}
