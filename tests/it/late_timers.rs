//! Timers that come late: the time of a compute is up, and nobody has been told yet.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleeting::Cache;
use fleeting::runtime::{Spawner, Task, Timer};
use futures::FutureExt;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A clock that is moved by hand, on a runtime so busy that neither its timers nor its tasks run.
struct Busy {
    now: Mutex<Instant>,
    tasks: Mutex<Vec<Task>>,
}

impl Busy {
    fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(Instant::now()), tasks: Mutex::default() })
    }

    fn advance(&self, duration: Duration) {
        *self.now.lock().expect("no panic at the clock") += duration;
    }
}

impl Spawner for Busy {
    fn spawn(&self, task: Task) {
        self.tasks.lock().expect("no panic at the tasks").push(task);
    }
}

impl Timer for Busy {
    fn now(&self) -> Instant {
        *self.now.lock().expect("no panic at the clock")
    }

    fn sleep_until(&self, _: Instant) -> Task {
        futures::future::pending().boxed()
    }
}

#[test]
fn a_refresh_whose_time_is_up_is_put_off_also_before_its_timer_comes() {
    let busy = Busy::new();
    let cache: Cache<u32, u32> = Cache::builder()
        .runtime(Arc::clone(&busy))
        .refresh_after(SECOND)
        .compute_timeout(SECOND)
        .build()
        .expect("valid settings");
    cache.insert(1, 1);
    let read = || cache.get_or_compute(1, futures::future::pending).now_or_never();
    busy.advance(SECOND);
    for (attempt, put_off) in (1..).zip([100, 200, 400]) {
        assert_eq!(read(), Some(1));
        assert_eq!(cache.stats().computes, attempt);
        busy.advance(SECOND);
        assert_eq!(read(), Some(1));
        assert_eq!(cache.stats().computes, attempt, "the one whose time is up has failed");
        busy.advance((put_off - 1) * MILLISECOND);
        assert_eq!(read(), Some(1));
        assert_eq!(cache.stats().computes, attempt, "the next is put off");
        busy.advance(MILLISECOND);
    }
    assert_eq!(read(), Some(1));
    assert_eq!(cache.stats().computes, 4);
    busy.tasks.lock().expect("no panic at the tasks").clear();
}
