//! Running user code whose panic must not go further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs `code`; a panic becomes its message.
///
/// What the code was working on is not looked at again after a panic, so unwind safety is given.
pub(crate) fn contain<T>(code: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
        let message = message(&*payload).into();
        // A payload is any value: dropping it can panic too. The hook has reported it by now.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        message
    })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        "a value that is no text"
    }
}
