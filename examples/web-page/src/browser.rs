//! A runtime for browsers: tasks are the page's own, and waits are timeouts of it.

use fleeting::runtime::{Instant, Spawner, Task, Timer};
use gloo_timers::future::TimeoutFuture;
use send_wrapper::SendWrapper;

/// The longest timeout there is, in milliseconds: one that is longer would end at once.
const LONGEST: u32 = i32::MAX.unsigned_abs();

/// Runs tasks on the page's event loop. Node.js has one too.
#[derive(Clone, Copy, Debug)]
pub struct Browser;

impl Spawner for Browser {
    fn spawn(&self, task: Task) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

impl Timer for Browser {
    fn sleep_until(&self, deadline: Instant) -> Task {
        // A timeout is not `Send`, and a task must be. The wrapper says that it is, and panics on another
        // thread: a page has one.
        Box::pin(SendWrapper::new(async move {
            // More than one timeout where one is too short, or came early.
            while let Some(millis) = millis_until(deadline) {
                TimeoutFuture::new(millis).await;
            }
        }))
    }
}

/// The timeout that is left until `deadline`, rounded up; `None` if that is past.
fn millis_until(deadline: Instant) -> Option<u32> {
    let left = deadline.checked_duration_since(Instant::now())?;
    let millis = u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST);
    (millis > 0).then_some(millis.min(LONGEST))
}
