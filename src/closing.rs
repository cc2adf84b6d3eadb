//! How work on a record ends: the notice is sent, and the record closed with it.

use crate::moment::Moment;
use crate::notice::Report;
use crate::record::Status;
use crate::request::Action;
use crate::work::{Stop, Work};

/// Says how it stands, unless that was said before. The message is not ended by this: a wake-up or the watch goes on with it.
pub(crate) async fn say_meanwhile(mut work: Work<'_>, report: &Report) -> Result<(), Stop> {
    if !work.has_said(report.stage) {
        work.hold().await?;
        if let Some(error) = work.silenced_by() {
            return Err(Stop::Journal(error.clone()));
        }
        if publish(&work, report).await {
            work.record.seen_mut(work.request).notices.push(report.stage);
        }
    }
    work.close().await
}

/// Sends the final notice and closes the record with it.
pub(crate) async fn finish(work: &mut Work<'_>, report: &Report) -> Result<(), Stop> {
    let request = work.request;
    if work.unjournalled.is_none() {
        // Whoever has lost the record says nothing: the one that has it does. A release is not over until it was said: a record
        // that is closed would have nothing to release for the next delivery.
        let status = work.record.status;
        if request.action == Action::Release {
            work.record.status = Status::Releasing;
        }
        work.hold().await?;
        work.record.status = status;
    }
    work.catch_up().await?;
    if let Some(error) = work.silenced_by() {
        return Err(Stop::Journal(error.clone()));
    }
    let sent = publish(work, report).await;
    let seen = work.record.seen_mut(request);
    seen.ended = Some(report.stage);
    if sent {
        seen.notices.push(report.stage);
    }
    work.record
        .happened(Moment::now(), format!("{}: {}", request.action, report.stage));
    // The notice is out: what still goes wrong here is for the log, and the next message for this entity.
    if let Err(stop) = work.close().await {
        tracing::warn!(entity = %work.record.entity, "the record was not closed: {stop}");
    }
    Ok(())
}

/// Sends a notice, which says so if the journal does without this record. Says whether the audit topic has it.
async fn publish(work: &Work<'_>, report: &Report) -> bool {
    let publisher = &work.deps.publisher;
    match work.unjournalled {
        Some(_) => {
            publisher
                .publish(&report.clone().unjournalled(&work.deps.settings))
                .await
        }
        None => publisher.publish(report).await,
    }
}
