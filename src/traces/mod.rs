//! What a contained identity had changed in AWS by itself: the users, keys, roles and functions that an intruder made before the deny
//! held go on living, and are to be contained too.
//!
//! Told once for each containment, when CloudTrail has had the time to write it all down ("Viewing recent management events" in its User
//! Guide: typically within 15 minutes).

mod find;

use crate::admit::newest_containment;
use crate::aws::Failure;
use crate::handler::Deps;
use crate::moment::Moment;
use crate::notice::{Report, Stage};
use crate::record::{Record, Status};
use crate::request::Request;
use crate::settings::Settings;
use crate::work::{Stop, Work};
use find::{Traces, find};

/// How long it is tried when CloudTrail can't be asked, in seconds.
const TRIED_SECONDS: u64 = 2 * 3600;

/// Why traces were not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untold {
    /// The record could not be read or written.
    #[error("{0}")]
    Stop(#[from] Stop),
    /// CloudTrail could not be asked.
    #[error("{0}")]
    Aws(#[from] Failure),
    /// The topic did not take the notice.
    #[error("the notice could not be sent")]
    Notice,
}

/// Whether it is time to look for what the identity of a record has left.
pub(crate) fn is_due(record: &Record, settings: &Settings, now: Moment) -> bool {
    let stands = matches!(record.status, Status::Contained | Status::Partial);
    stands && record.traced.is_none() && record.opened.plus(settings.trace_after) <= now
}

/// Tells what the identity of a record had changed, if it is due, and notes in the record that it was asked. Says whether there was
/// anything to tell.
///
/// # Errors
/// It could not be asked or told now: it is due still.
pub(crate) async fn tell(deps: &Deps, key: &str) -> Result<bool, Untold> {
    let (holder, now) = (deps.new_holder(), Moment::now());
    let stored = deps.journal.load(key).await.map_err(Stop::Journal)?;
    let due = |record: &Record| is_due(record, &deps.settings, now);
    let Some(stored) = stored.filter(|stored| due(&stored.record) && !stored.held_by_another(&holder, now)) else {
        return Ok(false);
    };
    let Some(request) = newest_containment(&stored.record) else {
        return Ok(false);
    };
    let found = find(&stored.record, &request.entity, deps).await;
    let mut work = Work::new(deps, &request, stored.record.clone(), holder, Some(&stored));
    let (what, told) = match found {
        Ok(traces) if traces.is_nothing() => (nothing(&traces), false),
        Ok(traces) => {
            // Whoever has the record tells it, and nobody beside. It is noted when it was told: a notice that comes twice, should this
            // invocation die in between, is better than none.
            work.hold().await?;
            if let Some(error) = work.unjournalled.take() {
                return Err(Stop::Journal(error).into());
            }
            let what = some(&traces);
            if !deps.publisher.publish(&report(&request, &work.record, traces)).await {
                work.close().await?;
                return Err(Untold::Notice);
            }
            (what, true)
        }
        Err(failure) if work.record.opened.plus_seconds(TRIED_SECONDS) > now => return Err(failure.into()),
        Err(failure) => (
            format!("watch: what it had made could not be looked up in CloudTrail, and is tried no more: {failure}"),
            false,
        ),
    };
    work.record.traced = Some(now);
    work.record.happened(now, what);
    work.close().await?;
    Ok(told)
}

fn nothing(traces: &Traces) -> String {
    format!(
        "watch: CloudTrail knows of no change of its own ({})",
        traces.regions.join(", ")
    )
}

fn some(traces: &Traces) -> String {
    format!(
        "watch: {} changes of its own found in CloudTrail ({})",
        traces.changes.len() + traces.more,
        traces.regions.join(", ")
    )
}

fn report(request: &Request, record: &Record, traces: Traces) -> Report {
    let entity = &request.entity;
    let summary = if traces.changes.is_empty() {
        format!(
            "What the {entity} had changed in AWS before its containment held is NOT known: there were more events than could be read"
        )
    } else {
        format!(
            "The {entity} had changed these things in AWS before its containment held, or in the hour before. What it made lives on"
        )
    };
    let mut next = traces.next;
    next.push("Look at each change. The containment's release undoes none of them".to_owned());
    let mut remarks = vec![format!(
        "CloudTrail was asked in {}: changes in other regions are not among them",
        traces.regions.join(", ")
    )];
    if !traces.truncated.is_empty() {
        let cut = traces.truncated.join(", ");
        remarks.push(format!(
            "There were more events than could be read in {cut}: look there yourself"
        ));
    }
    if traces.more > 0 {
        remarks.push(format!("{} more changes are not listed", traces.more));
    }
    Report {
        containment_id: Some(record.containment.to_string()),
        owners: request.claims.owners.clone(),
        raised: true,
        traces: traces.changes,
        remarks,
        next,
        ..Report::about(Stage::Notified, request, summary)
    }
}
