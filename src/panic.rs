//! Running user code whose panic must not go further, or not yet.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use crate::sync::Arc;

type Payload = Box<dyn Any + Send>;

/// Runs `code`; a panic becomes its message.
///
/// What the code was working on is not looked at again after a panic, so unwind safety is given.
pub(crate) fn contain<T>(code: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
        let text = message(&*payload).into();
        discard(payload);
        text
    })
}

/// Puts panics off until all is done: the first one goes on when this is dropped.
#[derive(Default)]
pub(crate) struct Postponed(Option<Payload>);

impl Postponed {
    pub(crate) fn run(&mut self, code: impl FnOnce()) {
        let Err(payload) = catch_unwind(AssertUnwindSafe(code)) else { return };
        match self.0 {
            None => self.0 = Some(payload),
            Some(_) => discard(payload),
        }
    }
}

impl Drop for Postponed {
    fn drop(&mut self) {
        let Some(payload) = self.0.take() else { return };
        // A second panic during unwinding would end the process.
        if thread::panicking() {
            discard(payload);
        } else {
            resume_unwind(payload);
        }
    }
}

/// A payload is any value: dropping it can panic too. The panic hook has reported it by now.
fn discard(payload: Payload) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
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
