//! Where the servers are installed.

use std::path::PathBuf;

/// The folder of a server that `tests/servers/setup.sh` installed, or `None` with a line that says what is skipped.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let found = home().map(|home| home.join(name)).filter(|folder| folder.join(".smelt").exists());
    if found.is_none() {
        skip(name);
    }
    found
}

fn home() -> Option<PathBuf> {
    let set = std::env::var_os("TEST_SERVERS").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/smelt/servers")))
}

#[allow(clippy::print_stdout, reason = "what a test skipped is told on its standard output")]
fn skip(name: &str) {
    println!("skipped: {name}: it is not installed (tests/servers/setup.sh, TEST_SERVERS)");
}
