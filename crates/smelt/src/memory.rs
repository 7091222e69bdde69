//! The allocator, and what it does with memory that is free again.
//!
//! mimalloc keeps freed memory for a second by default and asks for huge pages. Ingest frees tens of megabytes many times
//! a second on another thread than took them: doing without huge pages, 5 M events peaked at 206 to 211 MiB when it was given
//! back after a millisecond, 210 to 219 after 10, and 270 to 275 after a second, for 2 to 5 % less CPU time. Refreshes and
//! queries use the same memory again and again: the batch job's took 359 to 362 MiB with a millisecond, 371 to 375 with 10,
//! 526 to 554 with a second, for 3 to 5 % less CPU time.

#![allow(unsafe_code, reason = "mimalloc's options can only be set through its C interface")]

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    /// Of mimalloc itself, which the allocator above links; its Rust bindings name it only with a further dependency.
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc 3: milliseconds until freed memory goes back to the system.
const PURGE_DELAY: c_int = 15;

/// How long memory that is free again is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// For a millisecond.
    Shortest,
    /// For 10 milliseconds.
    Briefly,
}

/// Sets how long freed memory is kept. Call it before the runtime is made: it must run while there is one thread.
pub fn set_up(keep: Keep) {
    let milliseconds = match keep {
        Keep::Shortest => 1,
        Keep::Briefly => 10,
    };
    // SAFETY: sets a number in mimalloc's own table; it is not thread-safe, and no other thread runs yet.
    unsafe { mi_option_set(PURGE_DELAY, milliseconds) };
}
