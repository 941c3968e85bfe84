//! SIGINT and SIGTERM become a request to stop at the next safe place; a second one stops at once.

use rowback::cancel::CancelToken;
use rowback::progress::SharedProgress;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// Watches for both signals as long as the runtime lives.
pub fn watch(cancel: CancelToken, progress: SharedProgress) -> Result<(), Failure> {
    let open = |kind| {
        signal(kind).map_err(|error| {
            Failure::input("signals-unavailable", "the program cannot watch for Ctrl-C", &error)
        })
    };
    let mut interrupt = open(SignalKind::interrupt())?;
    let mut terminate = open(SignalKind::terminate())?;
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        cancel.cancel();
        progress.note("Stopping at the next safe place; press Ctrl-C again to stop at once.");
        either(&mut interrupt, &mut terminate).await;
        // What runs in a transaction is rolled back by the server; scratch is swept by the next run.
        std::process::exit(5);
    });
    Ok(())
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
