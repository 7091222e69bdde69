//! The truth of streams that share dimensions or keep history.

pub(crate) mod chain;
pub(crate) mod history;
pub(crate) mod orders;
