//! Landing files as a source: the files of one stream ([`FileSource`]), and the files of a day of all members of a set
//! that are accepted together ([`LandingSet`], which writes the ledger that the source of each member loads by).

mod examine;
mod head;
mod ledger;
mod ledger_rows;
mod load;
mod looks;
mod notes;
mod place;
mod remote;
mod set;
mod stream;
mod unit;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::place::{Place, PlaceError};
pub(crate) use self::set::{LandingSet, SetPlace};
pub(crate) use self::stream::FileSource;
use crate::{Clock, Mode, Progress};

/// How landing files are looked at.
#[derive(Clone)]
pub(crate) struct FileSettings {
    pub mode: Mode,
    /// How long a file must look the same before it is accepted.
    pub settle: Duration,
    pub look_every: Duration,
    pub lock_wait: Duration,
    pub threads: usize,
    pub clock: Clock,
    pub progress: Arc<dyn Progress>,
}
