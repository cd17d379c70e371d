//! A clock that is put, while events wait for something: nothing is lost, put off or over by it.

use std::time::Duration;

use conversion_relay::{
    config::Engine,
    queue::{MemoryDisk, Queue},
};
use tokio::task::JoinSet;

use super::{
    doubles::{DEDUPLICATES, Stub, config, destination, policy, reply},
    plain,
    real::{Put, admission, all_delivered, deliver, opening},
};

const HOUR: i64 = 60 * 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_put_loses_and_stalls_nothing() {
    let mut all = JoinSet::new();
    // Out of order, throttled, not now, refused credentials: four ways to wait.
    for status in [503, 429, 422, 401] {
        for jumps in [&[HOUR][..], &[-HOUR], &[HOUR, -HOUR], &[-HOUR, -HOUR, HOUR]] {
            all.spawn(put(status, jumps));
        }
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

async fn put(status: u16, jumps: &[i64]) {
    let what = format!("{status} and {jumps:?}");
    let good = jumps.len() + 1;
    let stub = Stub::new(move |number, _| async move {
        if number < good { reply(status, &[], "not now") } else { reply(200, &[], "") }
    })
    .await;
    let (put, folder) = (Put::default(), tempfile::tempdir().unwrap());
    let opening = opening(folder.path(), Engine::Sled, put.clock());
    let queue = Queue::open_in_memory(opening, &MemoryDisk::default()).unwrap();
    let mut patient = policy();
    patient.retry.attempts = 20;
    let delivery =
        deliver(config(destination(&DEDUPLICATES, plain(&stub.url), patient)), &queue, put.clock());
    let now = (put.clock())();
    queue.admit((0..10).map(|n| admission(&format!("e{n}"), now)).collect()).await.unwrap();
    for (number, jump) in jumps.iter().enumerate() {
        let seen = async {
            while stub.seen().len() <= number {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
        seen.unwrap_or_else(|_| panic!("{what}: nothing was sent after {number} jumps"));
        put.by(*jump);
    }
    all_delivered(&queue, 10, Duration::from_secs(60), &what).await;
    drop(delivery);
    queue.close().await;
}
