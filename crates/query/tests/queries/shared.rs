//! A session over an empty lake, with the project that is in the repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schema::{Project, SourceFile};
use session::{LakeSession, SessionFactory, SessionOptions};
use store::{Lake, LakeOptions};

/// The repository's own `models/` and `queries/`.
pub fn shipped_project() -> Project {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["models", "queries"] {
        collect(&root, &root.join(folder), &mut files);
    }
    Project::parse(files).expect("the shipped project is valid")
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("readable").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let text = std::fs::read_to_string(&path).expect("readable");
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            files.push(SourceFile { path, text });
        }
    }
}

pub async fn session(project: Project) -> LakeSession {
    let options = LakeOptions { sync: false, ..LakeOptions::default() };
    let lake = Lake::open("memory:///", options).await.expect("memory is there");
    let factory = SessionFactory::new(lake, Arc::new(project), SessionOptions::default()).expect("a factory");
    factory.session().await.expect("a session")
}
