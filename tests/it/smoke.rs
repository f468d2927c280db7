use fleeting::{Cache, ComputeError, runtime::Manual};
use futures::executor::block_on;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn basics() {
    let c: Cache<String, u32> = Cache::builder().max_size(3).build().unwrap();
    for i in 0..5 {
        c.insert(i.to_string(), i);
    }
    assert_eq!(c.len(), 3);
    assert_eq!(c.get("0"), None);
    assert_eq!(c.get("4"), Some(4));
    assert_eq!(c.iter().count(), 3);
    assert_eq!(c.stats().evictions, 2);
    c.validate();
    assert_eq!(c.remove("4"), Some(4));
    c.validate();
    c.clear();
    c.validate();
    assert!(c.is_empty());
}
#[test]
fn ttl_sweeps() {
    let time = Manual::new();
    let c: Cache<u32, u32> =
        Cache::builder().ttl(Duration::from_secs(60)).runtime(time.clone()).build().unwrap();
    for i in 0..100_000 {
        c.insert(i, i);
        if i % 1000 == 0 {
            time.advance(Duration::from_millis(7));
        }
    }
    c.validate();
    println!("{time:?}");
    time.advance(Duration::from_millis(59_000));
    assert_eq!(c.len(), 100_000);
    time.advance(Duration::from_millis(3000));
    assert_eq!(c.len(), 0);
    c.validate();
    time.block_on(c.close());
    println!("{time:?}");
    time.advance(Duration::from_secs(1));
    println!("{time:?}");
}
#[test]
fn computes() {
    let c: Cache<u32, u32> = Cache::builder().build().unwrap();
    let n = Arc::new(AtomicUsize::new(0));
    let call = || {
        let n = n.clone();
        let c = &c;
        async move {
            c.get_or_compute(1, || async move {
                n.fetch_add(1, Ordering::SeqCst);
                futures::pending!();
                7
            })
            .await
        }
    };
    let (tx, rx) = futures::channel::oneshot::channel::<()>();
    drop((tx, rx));
    let _ = call;
    let v = block_on(futures::future::join_all((0..10).map(|_| {
        c.get_or_compute(2, || {
            n.fetch_add(1, Ordering::SeqCst);
            async {
                let mut once = false;
                futures::future::poll_fn(move |cx| {
                    if once {
                        std::task::Poll::Ready(())
                    } else {
                        once = true;
                        cx.waker().wake_by_ref();
                        std::task::Poll::Pending
                    }
                })
                .await;
                5
            }
        })
    })));
    assert_eq!(v, vec![5; 10]);
    assert_eq!(n.load(Ordering::SeqCst), 1);
    assert_eq!(c.stats().coalesced, 1);
    let c2 = c.clone();
    let r: Result<u32, ComputeError<std::io::Error>> =
        block_on(c.try_get_or_compute(3, move || async move {
            c2.clone()
                .try_get_or_compute::<_, _, std::io::Error>(3, || async { Ok(1) })
                .await
                .map_err(|e| {
                    assert!(matches!(e, ComputeError::Recursive));
                    std::io::Error::other("rec")
                })
        }));
    assert!(matches!(r, Err(ComputeError::Failed(_))));
    let r: Result<u32, ComputeError<std::io::Error>> =
        block_on(c.try_get_or_compute(3, || async { panic!("boom") }));
    assert!(matches!(r, Err(ComputeError::Panicked(m)) if &*m == "boom"));
    assert_eq!(c.validate(), 0);
}
