//! What SNS refuses and the emulator accepts.

use crate::answer::Refusal;
use crate::call::Call;

/// A subject may have at most 99 characters, all of them printable ASCII (Amazon SNS API Reference, Publish: fewer than 100
/// characters, no line breaks or control characters).
pub fn check(call: &Call) -> Option<Refusal> {
    let subject = call.params.get("Subject").filter(|_| call.action == "Publish")?;
    let fits = subject.chars().count() < 100 && !subject.is_empty();
    let printable = subject
        .chars()
        .all(|letter| letter.is_ascii() && !letter.is_ascii_control());
    (!fits || !printable).then(|| Refusal::bad("InvalidParameter", "Invalid parameter: Subject"))
}
