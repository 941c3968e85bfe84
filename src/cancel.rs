//! One flag that says "stop at the next safe place". Set by Ctrl-C in the binary, looked at by every loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Cloned freely; all clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    notify: Notify,
    parent: Option<CancelToken>,
}

/// Tells whoever holds the token to stop when it is dropped: a thread has nobody to work for once its future is gone.
#[derive(Debug)]
pub struct StopOnDrop(pub CancelToken);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl CancelToken {
    /// Asks everything that holds this token to stop.
    pub fn cancel(&self) {
        self.inner.set.store(true, Ordering::SeqCst);
        self.inner.notify.notify_waiters();
    }

    /// A token that is also set when this one is; setting it leaves this one alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { inner: Arc::new(Inner { parent: Some(self.clone()), ..Inner::default() }) }
    }

    /// Has somebody asked to stop?
    pub fn is_cancelled(&self) -> bool {
        let parent = self.inner.parent.as_ref();
        self.inner.set.load(Ordering::SeqCst) || parent.is_some_and(Self::is_cancelled)
    }

    /// Resolves once somebody asks to stop.
    pub async fn cancelled(&self) {
        loop {
            let notified = self.inner.notify.notified();
            if self.is_cancelled() {
                return;
            }
            match &self.inner.parent {
                Some(parent) => tokio::select! {
                    () = notified => {}
                    () = Box::pin(parent.cancelled()) => {}
                },
                None => notified.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_hears_its_parent_and_keeps_its_own_end_to_itself() {
        let run = CancelToken::default();
        let (one, other) = (run.child(), run.child());
        let work = StopOnDrop(one.clone());
        assert!(!one.is_cancelled());
        drop(work);
        one.cancelled().await;
        assert!(one.is_cancelled() && !run.is_cancelled() && !other.is_cancelled());
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.cancelled().await }
        });
        tokio::task::yield_now().await;
        run.cancel();
        waiting.await.unwrap();
        assert!(other.is_cancelled() && run.child().is_cancelled());
    }
}
