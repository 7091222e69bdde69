//! What other engines read from a lake that is there.

use std::path::Path;

use anyhow::{Result, ensure};
use benches::interop::{Reader, differences, ours};

/// Reads a lake with every reader that can be had, and prints what differs.
///
/// # Errors
/// When a reader fails or differs.
pub fn run(lake: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let expected = runtime.block_on(ours(lake))?;
    println!("the store reads {} tables", expected.keys().filter(|key| key.1 == "rows").count());
    let mut wrong = 0;
    for reader in Reader::ALL {
        match reader.read(lake)? {
            Err(why) => println!("{why}"),
            Ok(answers) => {
                let found = differences(&expected, &answers);
                found.iter().for_each(|line| println!("{reader:?}: {line}"));
                println!(
                    "{reader:?}: {} of {} figures agree",
                    expected.len() - found.len().min(expected.len()),
                    expected.len()
                );
                wrong += found.len();
            }
        }
    }
    ensure!(wrong == 0, "{wrong} figures differ");
    Ok(())
}
