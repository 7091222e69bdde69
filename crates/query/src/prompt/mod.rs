//! The prompt: statements from a terminal, with history and completion, or from a script.

mod complete;
mod meta;
mod split;

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use session::{LakeSession, SessionFactory};

use crate::{Format, QueryError, Written};
use complete::Completion;
use meta::Meta;
pub use split::statements;

const PROMPT: &str = "smelt> ";

/// Statements that the history keeps.
const HISTORY_ENTRIES: usize = 5_000;

/// How a prompt behaves.
#[derive(Debug, Clone)]
pub struct PromptOptions {
    /// The file that keeps the history; `None` to keep none. Folders on the way are made.
    pub history: Option<PathBuf>,
    /// How answers are written at first.
    pub format: Format,
}

/// Reads statements from the terminal until `\q` or Ctrl-D, and writes their answers to standard output and errors,
/// counts and times to standard error. Each statement sees the newest release. Ctrl-C stops a running query and only
/// that.
///
/// # Errors
/// When the terminal cannot be read or an answer cannot be written; what is wrong with a statement is shown, and the
/// prompt goes on.
pub async fn prompt(factory: &SessionFactory, options: PromptOptions) -> Result<(), QueryError> {
    let mut editor = editor(factory, &options)?;
    let mut format = options.format;
    eprint_line("Only queries run here; statements end with `;`. \\? for help, \\q to quit.");
    loop {
        // Reading blocks, and the runtime has other work to do (closing connections, say).
        let (read, returned) = tokio::task::spawn_blocking(move || (editor.readline(PROMPT), editor))
            .await
            .map_err(|error| QueryError::Write(std::io::Error::other(error)))?;
        editor = returned;
        let line = match read {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        remember(&mut editor, &line, &options);
        if line.trim_start().starts_with('\\') {
            match meta::parse(&line) {
                Meta::Quit => break,
                Meta::Format(wanted) => format = wanted,
                other => show(run_meta(factory, &other).await),
            }
            continue;
        }
        for statement in statements(&line).0 {
            show(run_interruptible(factory, statement, format).await);
        }
    }
    Ok(())
}

/// Runs the statements of `text` one after the other, in one session, and writes each answer to `writer`.
///
/// # Errors
/// The first statement that fails ends the script.
pub async fn run_script(
    session: &LakeSession,
    text: &str,
    format: Format,
    writer: &mut (dyn Write + Send),
) -> Result<Written, QueryError> {
    let mut rows = 0;
    for statement in statements(text).0 {
        let answer = session.query(statement, &Default::default()).await?;
        rows += format.write(answer, writer).await?.rows;
    }
    Ok(Written { rows })
}

fn editor(factory: &SessionFactory, options: &PromptOptions) -> Result<Editor<Completion, FileHistory>, QueryError> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY_ENTRIES)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Completion::new(factory.project())));
    if let Some(path) = &options.history {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let loaded = made.map_err(ReadlineError::from).and_then(|()| match path.exists() {
            true => editor.load_history(path),
            false => Ok(()),
        });
        if let Err(error) = loaded {
            tracing::warn!(%error, path = %path.display(), "the history cannot be read");
        }
    }
    Ok(editor)
}

/// Adds a line to the history. A history that cannot be written is worth a warning, not an end.
fn remember(editor: &mut Editor<Completion, FileHistory>, line: &str, options: &PromptOptions) {
    let added = editor.add_history_entry(line.trim());
    let saved = match &options.history {
        Some(path) if matches!(added, Ok(true)) => editor.append_history(path),
        _ => added.map(|_| ()),
    };
    if let Err(error) = saved {
        tracing::warn!(%error, "the history was not kept");
    }
}

async fn run_meta(factory: &SessionFactory, meta: &Meta) -> Result<(), QueryError> {
    let session = factory.session().await?;
    meta::answer(meta, &session, &mut std::io::stdout()).await
}

async fn run_interruptible(factory: &SessionFactory, statement: &str, format: Format) -> Result<(), QueryError> {
    tokio::select! {
        // Dropping the query's future stops it.
        interrupted = tokio::signal::ctrl_c() => {
            eprint_line("stopped");
            Ok(interrupted?)
        }
        done = run(factory, statement, format) => done,
    }
}

async fn run(factory: &SessionFactory, statement: &str, format: Format) -> Result<(), QueryError> {
    let started = Instant::now();
    let session = factory.session().await?;
    let answer = session.query(statement, &Default::default()).await?;
    let written = format.write(answer, &mut std::io::stdout()).await?;
    let rows = if written.rows == 1 { "row" } else { "rows" };
    eprint_line(&format!("{} {rows} in {:.3} s", written.rows, started.elapsed().as_secs_f64()));
    Ok(())
}

fn show(result: Result<(), QueryError>) {
    if let Err(error) = result {
        eprint_line(&format!("error: {error}"));
    }
}

/// A line for the person at the terminal. If nobody can read it there is nobody to tell.
fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
