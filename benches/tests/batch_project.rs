//! The project of the batch job is one that Smelt accepts.

use std::path::{Path, PathBuf};

use anyhow::Result;
use schema::{Project, SourceFile};

#[test]
fn the_batch_project_parses() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("batch");
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root)?.to_string_lossy().into_owned();
                files.push(SourceFile { path: name, text: std::fs::read_to_string(&path)? });
            }
        }
    }
    let project = Project::parse(files)?;
    assert!(project.contracts.contains_key("sales_transactions"));
    let models: Vec<String> = project.models.keys().map(ToString::to_string).collect();
    assert_eq!(models, ["silver.sales", "gold.daily", "gold.minute", "gold.product"]);
    Ok(())
}
