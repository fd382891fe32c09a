//! Turns: somebody does one after the other, on a thread of its own because repositories are read without waiting for anybody,
//! until the process is told to stop. Whoever has lost track of what they hold goes on under another name.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Shared;
use crate::agenda::Backoff;
use crate::store::error::StoreError;
use crate::store::queue::Holder;

/// How long somebody waits when the database does not answer.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(15) };

/// What a turn came to.
pub enum Turn {
    /// Something was done, and there may be more.
    Busy,
    /// Nothing is due before that moment.
    Idle(Duration),
    /// There is nothing left to do, and nothing to wait for.
    Over,
}

/// Somebody who takes turns.
pub trait Taker: Send + 'static {
    /// The number that tells it from others of this replica.
    fn number(&self) -> u16;

    /// One turn, under the name that it goes by now.
    fn turn(&self, holder: &Holder) -> impl Future<Output = Result<Turn, StoreError>>;
}

/// Starts somebody, and gives how many turns they have done when they end.
pub fn start(shared: &Arc<Shared>, called: String, taker: impl Taker) -> oneshot::Receiver<usize> {
    let (ended, end) = oneshot::channel();
    let (shared, handle) = (shared.clone(), Handle::current());
    let spawned = std::thread::Builder::new().name(called.clone()).spawn(move || {
        let _ = ended.send(take(&shared, &handle, &taker));
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "{called} does not start: {error}");
    }
    end
}

fn take(shared: &Shared, handle: &Handle, taker: &impl Taker) -> usize {
    let (mut done, mut failures) = (0, 0);
    while !shared.stops() {
        let mut woken = std::pin::pin!(shared.wake.notified());
        // From here on nothing is missed.
        woken.as_mut().enable();
        let turn = async {
            let holder = shared.presence.of(&shared.store, taker.number()).await?;
            taker.turn(&holder).await
        };
        let wait = match std::panic::catch_unwind(AssertUnwindSafe(|| handle.block_on(turn))) {
            Ok(Ok(Turn::Busy)) => {
                (failures, done) = (0, done + 1);
                continue;
            }
            Ok(Ok(Turn::Over)) => break,
            Ok(Ok(Turn::Idle(wait))) => {
                failures = 0;
                wait
            }
            failed => {
                match failed {
                    Ok(Err(error)) => tracing::warn!(%error, "a turn came to nothing: {error}"),
                    _ => tracing::error!("a turn has panicked"),
                }
                // What it held is taken up by whoever finds that it was begun and not ended.
                handle.block_on(shared.presence.lose(&shared.store, taker.number()));
                failures += 1;
                BACKOFF.after(failures, &taker.number().to_string())
            }
        };
        let mut stop = shared.stop.clone();
        handle.block_on(async {
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }
    done
}
