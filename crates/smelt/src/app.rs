//! What every command is wired from: settings, project, lake and session factory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use quality::alerts::{AlertOptions, Alerts, Channel, Secret};
use schema::Project;
use session::{SessionFactory, SessionOptions};
use store::{Lake, LakeOptions};

use crate::cli::Common;
use crate::project;
use crate::settings::Settings;

/// A command's surroundings.
pub struct App {
    /// The project folder.
    pub folder: PathBuf,
    /// The settings in force.
    pub settings: Settings,
    /// Contracts, models and queries.
    pub project: Arc<Project>,
    /// The tables.
    pub lake: Lake,
}

impl App {
    /// Reads settings and project, and opens the lake.
    ///
    /// # Errors
    /// Wrong configuration or project files, or a lake that cannot be opened.
    pub async fn open(common: &Common) -> Result<App> {
        let folder = project::folder(common.project.as_deref())?;
        let settings = Settings::load(&folder, variables(), &common.set)?;
        let project = Arc::new(project::load(&folder)?);
        let url = match &common.lake {
            Some(url) => url.clone(),
            None => below(&folder, &settings.lake),
        };
        let lake = open_lake(&url, &settings).await?;
        Ok(App { folder, settings, project, lake })
    }

    /// The sessions of this command.
    ///
    /// # Errors
    /// When the temporary folder for spilled data cannot be used.
    pub fn sessions(&self) -> Result<SessionFactory> {
        Ok(SessionFactory::new(self.lake.clone(), Arc::clone(&self.project), session_options(&self.settings))?)
    }

    /// The alerts about this lake.
    pub fn alerts(&self) -> Alerts {
        Alerts::new(self.lake.clone(), alert_options(&self.settings))
    }

    /// The folder or URL that landing paths are relative to.
    pub fn landing(&self) -> String {
        below(&self.folder, &self.settings.landing)
    }
}

/// Opens the lake at `url` under `settings`.
///
/// # Errors
/// When it cannot be reached, or a newer Smelt made it.
pub async fn open_lake(url: &str, settings: &Settings) -> Result<Lake> {
    // The lake reads the AWS_* variables itself.
    let options = LakeOptions { sync: settings.store.sync, ..LakeOptions::default() };
    Lake::open(url, options).await.with_context(|| format!("opening the lake {url}"))
}

/// The limits of sessions.
pub fn session_options(settings: &Settings) -> SessionOptions {
    let limits = &settings.limits;
    SessionOptions {
        memory_bytes: usize::try_from(limits.memory.0).unwrap_or(usize::MAX),
        threads: limits.cores(),
        temp_dir: (!limits.spill.is_empty()).then(|| PathBuf::from(&limits.spill)),
        time_limit: (!limits.query_time.0.is_zero()).then_some(limits.query_time.0),
    }
}

/// Who is told of incidents, with the secrets that the environment holds.
pub fn alert_options(settings: &Settings) -> AlertOptions {
    let alerts = &settings.alerts;
    let secret = |name: &str| match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => Ok(Secret::new(value.trim())),
        _ => Err(format!("the variable {name} is not set")),
    };
    let mut channels = Vec::new();
    if !alerts.slack_url_env.is_empty() {
        channels.push(Channel::Slack { url: secret(&alerts.slack_url_env) });
    }
    if !alerts.pagerduty_key_env.is_empty() {
        let (key, url) = (secret(&alerts.pagerduty_key_env), alerts.pagerduty_url.clone());
        channels.push(Channel::PagerDuty { key, url });
    }
    AlertOptions { channels, wait: alerts.wait.0 }
}

/// The variables of the environment. One that is not text is none of ours.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A relative path is below `folder`; a URL or an absolute path stays.
fn below(folder: &Path, path: &str) -> String {
    if path.contains("://") || Path::new(path).is_absolute() {
        return path.to_owned();
    }
    folder.join(path).to_string_lossy().into_owned()
}
