//! CPU time and peak memory, of this process and of children.

#![allow(
    unsafe_code,
    reason = "wait4, waitid and getrusage have no safe form in std; they fill structs that live here"
)]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

/// What a process used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all threads, in seconds.
    pub cpu_s: f64,
    /// The most resident memory, in MiB.
    pub peak_mib: f64,
}

impl Usage {
    fn of(usage: &libc::rusage) -> Usage {
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        // Linux gives the peak in KiB.
        Usage { cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime), peak_mib: usage.ru_maxrss as f64 / 1024.0 }
    }
}

/// Waits for a child and tells what it used, with all threads and all of its own children that it has waited for.
pub fn wait(child: &Child) -> io::Result<(ExitStatus, Usage)> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid, and both pointers are to live locals.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage) };
    if waited < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((ExitStatus::from_raw(status), Usage::of(&usage)))
}

/// Whether a child has ended; it can still be waited for.
pub fn has_ended(child: &Child) -> io::Result<bool> {
    // SAFETY: an all-zero siginfo is valid, and the pointer is to a live local.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    if unsafe { libc::waitid(libc::P_PID, child.id() as libc::id_t, &mut info, options) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid left it all zero, or filled it in for a child that ended, which has a process id.
    Ok(unsafe { info.si_pid() } != 0)
}

/// What this process has used so far.
pub fn own() -> Usage {
    // SAFETY: as above; getrusage of RUSAGE_SELF cannot fail.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    Usage::of(&usage)
}
