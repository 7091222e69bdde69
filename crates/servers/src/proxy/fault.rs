//! What goes wrong with which request.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Effect {
    /// It is answered with this status, and does not reach the server.
    Refuse(u16),
    /// The connection is cut, and it does not reach the server.
    Cut,
    /// The server does it; the connection is cut before the answer.
    LoseReply,
    /// The server does it; the answer is this status.
    SpoilReply(u16),
    /// The server does it; the connection is cut within the answer, after this many bytes of its body.
    CutReply(usize),
    /// It reaches the server so much later.
    Delay(Duration),
    /// It waits before it reaches the server, until it is let go.
    Hold(Pause),
}

/// A rule for requests.
#[derive(Clone, Debug)]
pub struct Fault {
    method: String,
    path_contains: String,
    effect: Effect,
    skip: usize,
    times: usize,
}

impl Fault {
    /// The next request of this method whose path or query contains a text; empty texts fit all.
    pub fn new(method: &str, path_contains: &str, effect: Effect) -> Self {
        Self { method: method.to_owned(), path_contains: path_contains.to_owned(), effect, skip: 0, times: 1 }
    }

    /// Such a request waits, at the point that is returned too.
    pub fn hold(method: &str, path_contains: &str) -> (Self, Pause) {
        let pause = Pause::default();
        (Self::new(method, path_contains, Effect::Hold(pause.clone())), pause)
    }

    /// Lets this many requests pass first.
    pub fn after_skipping(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Applies to this many requests instead of one.
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        (self.method.is_empty() || self.method == method) && path.contains(&self.path_contains)
    }
}

/// A point at which a request waits.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<(Mutex<Place>, Condvar)>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    At,
    Behind,
}

impl Pause {
    /// Waits until a request is at the point.
    pub fn reached(&self) {
        self.wait(|place| place == Place::Before);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.set(Place::Behind);
    }

    pub(super) fn hold(&self) {
        self.set(Place::At);
        self.wait(|place| place == Place::At);
    }

    fn set(&self, to: Place) {
        let (place, changed) = &*self.0;
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        // Once it was let go it stays so.
        if *place != Place::Behind {
            *place = to;
        }
        changed.notify_all();
    }

    fn wait(&self, while_: impl Fn(Place) -> bool) {
        let (place, changed) = &*self.0;
        let place = place.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_while(place, |place| while_(*place)).unwrap_or_else(PoisonError::into_inner));
    }
}

/// A network that fails by chance. Which request meets what depends on the seed, on the request and on how often it came
/// before: not on time, and not on what other requests do.
#[derive(Clone, Copy, Debug)]
pub struct Flaky {
    /// Another seed, other faults.
    pub seed: u64,
    /// Of a thousand requests, how many meet each of: 503, 500 after all, a cut before, a lost reply, a cut reply.
    pub per_mille: u64,
    /// How late all requests are, at most.
    pub delay: Duration,
}

impl Flaky {
    fn effect(&self, method: &str, path: &str, occurrence: u64) -> (Duration, Option<Effect>) {
        let mut hasher = DefaultHasher::new();
        (self.seed, method, path, occurrence).hash(&mut hasher);
        let drawn = hasher.finish();
        let delay = self.delay.mul_f64((drawn >> 32 & 0xFF) as f64 / 255.0);
        let effects =
            [Effect::Refuse(503), Effect::SpoilReply(500), Effect::Cut, Effect::LoseReply, Effect::CutReply(10)];
        let place = (drawn % 1000).checked_div(self.per_mille).and_then(|place| usize::try_from(place).ok());
        (delay, place.and_then(|place| effects.get(place).cloned()))
    }
}

/// All rules of a proxy.
#[derive(Debug, Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    pauses: Vec<Pause>,
    flaky: Option<Flaky>,
    occurrences: HashMap<(String, String), u64>,
    fired: usize,
}

impl Plan {
    pub fn add(&mut self, fault: Fault) {
        if let Effect::Hold(pause) = &fault.effect {
            self.pauses.push(pause.clone());
        }
        self.faults.push(fault);
    }

    pub fn make_flaky(&mut self, flaky: Flaky) {
        self.flaky = Some(flaky);
    }

    /// Requests that wait go on.
    pub fn clear(&mut self) {
        self.faults.clear();
        self.pauses.drain(..).for_each(|pause| pause.resume());
        self.flaky = None;
    }

    pub fn fired(&self) -> usize {
        self.fired
    }

    /// How late a request shall be, and what else it meets.
    pub fn meet(&mut self, method: &str, path: &str) -> (Duration, Option<Effect>) {
        let met = self.planned(method, path).map(|effect| (Duration::ZERO, Some(effect)));
        let (delay, effect) = met.or_else(|| self.by_chance(method, path)).unwrap_or_default();
        self.fired += usize::from(effect.is_some());
        (delay, effect)
    }

    fn planned(&mut self, method: &str, path: &str) -> Option<Effect> {
        for fault in self.faults.iter_mut().filter(|fault| fault.fits(method, path)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Some(fault.effect.clone());
            }
        }
        None
    }

    fn by_chance(&mut self, method: &str, path: &str) -> Option<(Duration, Option<Effect>)> {
        let flaky = self.flaky?;
        let count = self.occurrences.entry((method.to_owned(), path.to_owned())).or_default();
        *count += 1;
        Some(flaky.effect(method, path, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_their_order_and_end() {
        let mut plan = Plan::default();
        plan.add(Fault::new("PUT", "_delta_log", Effect::Refuse(503)).after_skipping(1).times(2));
        plan.add(Fault::new("", "", Effect::Cut));
        let mut meet = |method, path| match plan.meet(method, path).1 {
            None => 0,
            Some(Effect::Refuse(status)) => status,
            Some(_) => 1,
        };
        let met: Vec<u16> = (0..5).map(|_| meet("PUT", "/t/_delta_log/1.json")).collect();
        assert_eq!(met, [1, 503, 503, 0, 0]);
        assert_eq!(meet("GET", "/"), 0);
        assert_eq!(plan.fired(), 3);
    }

    #[test]
    fn chance_is_the_seeds_and_hits_as_often_as_asked() {
        let flaky = Flaky { seed: 7, per_mille: 40, delay: Duration::from_millis(10) };
        let draw = |flaky: &Flaky| (0..5000).map(|n| flaky.effect("GET", "/a", n)).collect::<Vec<_>>();
        let drawn = draw(&flaky);
        assert_eq!(format!("{drawn:?}"), format!("{:?}", draw(&flaky)));
        let hit = drawn.iter().filter(|(_, effect)| effect.is_some()).count();
        assert!((900..1100).contains(&hit), "{hit} of 5000 where a fifth was asked for");
        assert!(drawn.iter().all(|(delay, _)| *delay <= flaky.delay));
        let calm = Flaky { per_mille: 0, ..flaky };
        assert!(draw(&calm).iter().all(|(_, effect)| effect.is_none()));
    }
}
