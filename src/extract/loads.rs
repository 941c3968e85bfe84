//! Tables that are being loaded while others are looked at: a long table keeps nobody waiting but its own children.

use std::collections::VecDeque;
use std::pin::pin;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::ExtractError;
use crate::scratch::{Request, Scratch};

/// Numbers of components whose rows are in scratch now, and what their keys took.
struct Loaded {
    numbers: Vec<usize>,
    key_bytes: usize,
    outcome: Result<(), ExtractError>,
}

/// Loads that are under way.
pub(super) struct Loads<'s> {
    scratch: &'s Scratch,
    running: FuturesUnordered<BoxFuture<'s, Loaded>>,
    loaded: VecDeque<Loaded>,
    key_bytes: usize,
}

impl<'s> Loads<'s> {
    /// None yet.
    pub fn into_scratch(scratch: &'s Scratch) -> Self {
        Self { scratch, running: FuturesUnordered::new(), loaded: VecDeque::new(), key_bytes: 0 }
    }

    /// Is nothing under way, and nothing waiting to be told?
    pub fn are_none(&self) -> bool {
        self.running.is_empty() && self.loaded.is_empty()
    }

    /// Memory that the keys of these loads take, in bytes.
    pub fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    /// Starts a load for components of these numbers; `key_bytes` is what all keys under way take from now on.
    pub fn start(&mut self, numbers: Vec<usize>, requests: Vec<Request>, key_bytes: usize) {
        let (scratch, own) = (self.scratch, key_bytes.saturating_sub(self.key_bytes));
        self.key_bytes = key_bytes;
        self.running.push(Box::pin(async move {
            let outcome = scratch.load_all(requests).await.map_err(ExtractError::from);
            Loaded { numbers, key_bytes: own, outcome }
        }));
    }

    /// Does other work; the loads go on meanwhile.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(loaded) = self.running.next() => self.loaded.push_back(loaded),
            }
        }
    }

    /// Waits for the next load to end and tells its components; `None` when there is none.
    pub async fn next(&mut self) -> Option<Result<Vec<usize>, ExtractError>> {
        let loaded = match self.loaded.pop_front() {
            Some(loaded) => loaded,
            None => self.running.next().await?,
        };
        self.key_bytes = self.key_bytes.saturating_sub(loaded.key_bytes);
        Some(loaded.outcome.map(|()| loaded.numbers))
    }
}
