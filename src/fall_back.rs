//! Where steps can't be made, others do their work: planned from what the record says failed (docs/adr/0005).

use crate::apply::{Recorded, Tally, apply};
use crate::aws::Member;
use crate::entities::Facts;
use crate::execute::made;
use crate::plan::Plan;
use crate::record::{RecordedStep, StepState};
use crate::recording::record_plan;
use crate::work::{Stop, Work};

/// AWSDenyAll, the inline policy, the boundary: two fall-backs at the most.
const AT_MOST: usize = 2;

/// Applies what is recorded; where steps can't be made, records and applies those that do their work.
pub(crate) async fn apply_with_fall_backs(
    mut recorded: Recorded,
    work: &mut Work<'_>,
    member: &Member,
    facts: &Facts,
    tally: &mut Tally,
) -> Result<(), Stop> {
    apply(&recorded, work, member, tally, false).await?;
    for _ in 0..AT_MOST {
        let Some(plan) = fall_back(work, facts, tally) else {
            break;
        };
        recorded = record_plan(work, plan, member, tally).await?;
        apply(&recorded, work, member, tally, true).await?;
    }
    Ok(())
}

/// A new plan, where steps can't be made and others can do their work. Those that give way are marked, and no longer a reason to try
/// again.
fn fall_back(work: &mut Work<'_>, facts: &Facts, tally: &mut Tally) -> Option<Plan> {
    let given_up: Vec<String> = given_up(&work.record.steps);
    if given_up.is_empty() {
        return None;
    }
    let plan = made(work.request, facts, work.deps, Some(&work.record)).ok()?;
    let gives_way = |step: &RecordedStep| {
        let still_planned = plan.steps.iter().any(|planned| planned.step.key() == step.step.key());
        let instead = plan
            .steps
            .iter()
            .any(|planned| step.step.is_another_deny(&planned.step));
        given_up.contains(&step.step.key()) && instead && !still_planned
    };
    for step in work.record.steps.iter_mut().filter(|step| gives_way(step)) {
        step.state = StepState::Replaced;
        if let Some(reason) = &step.detail {
            tally.passing.remove(reason);
        }
    }
    if plan
        .steps
        .iter()
        .all(|planned| work.record.find(&planned.step).is_some())
    {
        // Nothing else can do their work: what stays open is said.
        (work.record.residue, work.record.remarks) = (plan.residue, plan.remarks);
        return None;
    }
    Some(plan)
}

/// The keys of the steps that are not tried further: those that can't be made, and a deny that fails for a reason that passes, where
/// another one holds.
fn given_up(steps: &[RecordedStep]) -> Vec<String> {
    let is_denied_by_another = |step: &RecordedStep| {
        steps.iter().any(|other| {
            matches!(other.state, StepState::Applied | StepState::Unchanged) && step.step.is_another_deny(&other.step)
        })
    };
    steps
        .iter()
        .filter(|step| step.is_impossible() || (step.state == StepState::Failed && is_denied_by_another(step)))
        .map(|step| step.step.key())
        .collect()
}
