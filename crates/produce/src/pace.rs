//! Messages at a rate.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The longest pause between two looks whether the run is stopped.
const LOOK: Duration = Duration::from_millis(100);
/// A shorter pause is left out, and made up for later.
const LEAST: Duration = Duration::from_millis(5);

/// Holds messages back to a rate.
pub(crate) struct Pace {
    rate: Option<u32>,
    start: Instant,
    passed: u64,
}

impl Pace {
    /// So many a second; `None`, or 0, holds nothing back.
    pub fn new(rate: Option<u32>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), start: Instant::now(), passed: 0 }
    }

    /// Waits, by `pause`, until the next message is due or the run is stopped.
    pub fn wait(&mut self, cancel: &CancellationToken, pause: impl Fn(Duration)) {
        let Some(rate) = self.rate else { return };
        let due = Duration::from_secs_f64(self.passed as f64 / f64::from(rate));
        self.passed += 1;
        loop {
            let early = due.saturating_sub(self.start.elapsed());
            if early <= LEAST || cancel.is_cancelled() {
                return;
            }
            pause(early.min(LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_back_and_a_stop_does_not() {
        let (begun, cancel) = (Instant::now(), CancellationToken::new());
        let mut pace = Pace::new(Some(100));
        (0..11).for_each(|_| pace.wait(&cancel, std::thread::sleep));
        let took = begun.elapsed();
        assert!((Duration::from_millis(90)..Duration::from_secs(5)).contains(&took), "{took:?}");
        cancel.cancel();
        let mut pace = Pace::new(Some(1));
        (0..100).for_each(|_| pace.wait(&cancel, |_| panic!("it is stopped")));
    }
}
