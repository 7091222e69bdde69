//! `smelt init`: a project folder of one's own, with a small stream that works from files alone.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::InitArgs;
use crate::exit::Usage;

macro_rules! template {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../template/", $path)))),*]
    };
}

/// The files of a new project. `gitignore` gets its dot when it is written.
const TEMPLATE: &[(&str, &str)] = template![
    "README.md",
    "smelt.toml",
    "gitignore",
    "models/bronze/kiosk_sales.toml",
    "models/silver/sales_lines/kiosk_sales.sql",
    "models/gold/kiosk_daily.sql",
    "queries/kiosk_daily.sql",
    "landing/kiosk_sales/kiosk_20240105.csv",
    "landing/kiosk_sales/kiosk_20240106.csv",
];

/// Writes the template to the folder and says what to type next. Nothing that is there is overwritten.
///
/// # Errors
/// [`Usage`] when the folder holds one of the files already (nothing is written then); I/O errors with the path.
pub fn run(args: InitArgs) -> Result<ExitCode> {
    let target = |path: &str| args.dir.join(if path == "gitignore" { ".gitignore" } else { path });
    if let Some((path, _)) = TEMPLATE.iter().find(|(path, _)| target(path).exists()) {
        return Err(Usage(format!("{} is there already: not making a project over it", target(path).display())).into());
    }
    for (path, text) in TEMPLATE {
        let path = target(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let dir = args.dir.display();
    crate::progress::say(&format!(
        "made a project in {dir}\nnext:\n  cd {dir}\n  smelt ingest\n  smelt refine\n  smelt query kiosk_daily"
    ));
    Ok(ExitCode::SUCCESS)
}
