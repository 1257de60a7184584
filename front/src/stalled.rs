//! Calls that were passed on, and of whose answers the other end takes nothing: they give way to
//! others once all places for calls are taken.
//!
//! A caller says by windows how much of an answer may come. So one who lets nothing come could hold
//! all places, for as long as it likes and without a word more.

use crate::shared::{lock, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// So long a call is left in peace.
const SPARED: Duration = Duration::from_secs(1);

/// Since when each waits, and what ends it.
#[derive(Default)]
pub(crate) struct Stalled(Mutex<HashMap<u64, (Instant, Arc<Notify>)>>);

impl Stalled {
    /// Ends the calls that have waited for long.
    pub(crate) fn give_way(&self, now: Instant) {
        for (since, ending) in lock(&self.0).values() {
            if now.saturating_duration_since(*since) >= SPARED {
                ending.notify_one();
            }
        }
    }
}

/// A call that waits, as long as this lives.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.shared.stalled.0).remove(&self.id);
    }
}

/// Resolves when a call that waits from now on is to give way.
pub(crate) async fn until_it_gives_way(shared: &Shared) {
    let waiting = Waiting { shared, id: shared.next_id() };
    let ending = Arc::new(Notify::new());
    lock(&shared.stalled.0).insert(waiting.id, (Instant::now(), ending.clone()));
    ending.notified().await;
}
