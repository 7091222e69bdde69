//! The projects of the loads are ones that Smelt accepts.

use std::path::{Path, PathBuf};

use anyhow::Result;
use schema::{Project, SourceFile};

/// The files of the project's models.
fn models(project: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![project.join("models")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(project)?.to_string_lossy().into_owned();
                files.push(SourceFile { path: name, text: std::fs::read_to_string(&path)? });
            }
        }
    }
    Ok(files)
}

#[test]
fn the_batch_project_parses() -> Result<()> {
    let project = Project::parse(models(&Path::new(env!("CARGO_MANIFEST_DIR")).join("batch"))?)?;
    assert!(project.contracts.contains_key("sales_transactions"));
    let models: Vec<String> = project.models.keys().map(ToString::to_string).collect();
    assert_eq!(models, ["silver.sales", "gold.daily", "gold.minute", "gold.product"]);
    Ok(())
}

#[test]
fn the_live_project_adds_to_the_built_in_one() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built_in = models(&folder.join(".."))?;
    let project = Project::parse(built_in.into_iter().chain(models(&folder.join("live"))?))?;
    assert!(project.contracts["sales_transactions"].kafka.is_some());
    for model in ["silver.sales_lines", "gold.bf_store_hour", "gold.live_minute"] {
        assert!(project.models.contains_key(&model.parse()?), "{model}");
    }
    Ok(())
}
