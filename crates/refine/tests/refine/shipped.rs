//! The models that are shipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use refine::RefineEnv;
use schema::{Project, SourceFile};
use session::{SessionFactory, SessionOptions};
use store::{Lake, LakeOptions};

use crate::world::run;

fn files(folder: &Path, root: &Path, found: &mut Vec<SourceFile>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, root, found);
        } else if path.extension().is_some_and(|ext| ext == "toml" || ext == "sql") {
            let shown = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            found.push(SourceFile { path: shown, text: std::fs::read_to_string(&path).unwrap() });
        }
    }
}

#[test]
fn all_shipped_models_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    files(&root.join("models"), &root, &mut found);
    let project = Arc::new(Project::parse(found).unwrap());
    assert!(project.models.len() >= 36);
    run(async {
        let lake = Lake::open("memory:///", LakeOptions::default()).await.unwrap();
        let factory = SessionFactory::new(lake.clone(), project.clone(), SessionOptions::default()).unwrap();
        refine::check(&RefineEnv { factory, lake, project }).await.unwrap();
    });
}
