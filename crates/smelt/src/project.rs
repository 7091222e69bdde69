//! The project that a command works on: the built-in one, with the files of a project folder over it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use schema::{Project, SourceFile};

use crate::exit::Usage;

/// The default project: every file of the repository's `models/` and `queries/`, compiled in.
pub const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The folders of a project that hold files to parse.
const FOLDERS: [&str; 2] = ["models", "queries"];

/// Parses the built-in project with the files below `folder` over it: same path, the folder's file wins.
///
/// # Errors
/// When a file cannot be read, or is not what it should be: with file, line and key.
pub fn load(folder: &Path) -> Result<Project> {
    let mut files: Vec<SourceFile> =
        EMBEDDED.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect();
    for name in FOLDERS {
        collect(folder, &folder.join(name), &mut files)?;
    }
    Ok(Project::parse(files)?)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(|| format!("reading {}", folder.display()))?.path());
    }
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "sql" || extension == "toml") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.push(SourceFile { path: relative, text });
        }
    }
    Ok(())
}

/// The project folder: the one named, else the current one.
///
/// # Errors
/// [`Usage`] when the folder named is not there.
pub fn folder(named: Option<&Path>) -> Result<PathBuf> {
    match named {
        Some(folder) if !folder.is_dir() => {
            Err(Usage(format!("--project {}: no such folder", folder.display())).into())
        }
        Some(folder) => Ok(folder.to_owned()),
        None => Ok(PathBuf::from(".")),
    }
}
