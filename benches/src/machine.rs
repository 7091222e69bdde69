//! What a result was measured with.

use std::fs;
use std::process::Command;
use std::thread;

/// Pairs of name and value: date, commit, processor, cores, memory, system, build of the runner.
pub fn facts() -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    vec![
        fact("date", chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string()),
        fact("commit", commit()),
        fact("processor", line_of("/proc/cpuinfo", "model name")),
        fact("cores", thread::available_parallelism().map_or_else(|_| "unknown".into(), |n| n.to_string())),
        fact("memory", line_of("/proc/meminfo", "MemTotal")),
        fact("system", first_line("/proc/sys/kernel/osrelease")),
        fact("load at start", first_line("/proc/loadavg")),
        fact("runner", if cfg!(debug_assertions) { "debug build" } else { "release build" }.into()),
    ]
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        output
            .ok()
            .filter(|output| output.status.success())
            .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with changes"),
        (None, _) => "unknown".into(),
    }
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or("unknown".into())
}

fn line_of(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("unknown".into(), |rest| rest.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}
