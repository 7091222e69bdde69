//! Keys of S3 from the shared credentials file, which others renew while a run goes on.
//!
//! Static keys in variables are those of a process for as long as it lives. A run that follows outlives them: so the file
//! is looked at before each request, and read again when it changed.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, Error, Result};

/// A file that is younger than this when it is read may change once more without a look of it telling.
const SETTLED: Duration = Duration::from_secs(2);

/// Variables that name a source of keys which goes before the file, unless the file or a profile is named too.
const OTHER_SOURCES: [&str; 3] =
    ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

/// One profile of a credentials file.
pub(super) struct SharedKeys {
    path: PathBuf,
    profile: String,
    last: Mutex<Option<Last>>,
}

/// What was read last.
struct Last {
    keys: Arc<AwsCredential>,
    /// The file as it was then; `None` while it is too young to be told from its next version.
    stamp: Option<Stamp>,
}

/// What of a file changes when its content does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    size: u64,
    inode: u64,
}

impl SharedKeys {
    /// The profile that the variables name, if keys are to come from a file: static keys go before it.
    ///
    /// `AWS_SHARED_CREDENTIALS_FILE` or `AWS_PROFILE` ask for it; without both, `~/.aws/credentials` is taken where it
    /// has a profile `default` and no role is named.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        if given("AWS_ACCESS_KEY_ID").is_some() || given("AWS_SECRET_ACCESS_KEY").is_some() {
            return None;
        }
        let (file, profile) = (given("AWS_SHARED_CREDENTIALS_FILE"), given("AWS_PROFILE"));
        let is_asked_for = file.is_some() || profile.is_some();
        let path = match file {
            Some(file) => PathBuf::from(file),
            None => Path::new(&given("HOME")?).join(".aws/credentials"),
        };
        let keys = Self::new(path, profile.unwrap_or_else(|| "default".to_owned()));
        let is_taken = || OTHER_SOURCES.iter().all(|name| given(name).is_none()) && keys.read().is_ok();
        (is_asked_for || is_taken()).then_some(keys)
    }

    fn new(path: PathBuf, profile: String) -> Self {
        Self { path, profile, last: Mutex::default() }
    }

    /// The keys as the file has them now.
    fn current(&self) -> Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path).ok();
        if let Some(known) = last.as_ref().filter(|known| stamp.is_some() && known.stamp == stamp) {
            return Ok(Arc::clone(&known.keys));
        }
        match (self.read(), last.as_ref()) {
            (Ok(keys), _) => {
                let keys = Arc::new(keys);
                let stamp = stamp.filter(|stamp| stamp.modified.elapsed().is_ok_and(|age| age > SETTLED));
                *last = Some(Last { keys: Arc::clone(&keys), stamp });
                Ok(keys)
            }
            // Whoever renews it may be in the middle of that.
            (Err(reason), Some(known)) => {
                tracing::warn!("the keys that were read before stay in use: {reason}");
                Ok(Arc::clone(&known.keys))
            }
            (Err(reason), None) => Err(Error::Generic { store: "S3", source: reason.into() }),
        }
    }

    fn read(&self) -> std::result::Result<AwsCredential, String> {
        let at = self.path.display();
        let text = std::fs::read_to_string(&self.path).map_err(|e| format!("credentials file {at}: {e}"))?;
        profile_of(&text, &self.profile).map_err(|e| format!("credentials file {at}: profile {}: {e}", self.profile))
    }
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeys").field("path", &self.path).field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for SharedKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        self.current()
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let file = std::fs::metadata(path)?;
    Ok(Stamp { modified: file.modified()?, size: file.len(), inode: file.ino() })
}

/// The keys of a profile: `[name]`, then `aws_access_key_id = …`, `aws_secret_access_key = …` and, for temporary ones,
/// `aws_session_token = …`. Other keys are other programs'.
fn profile_of(text: &str, profile: &str) -> std::result::Result<AwsCredential, String> {
    let (mut is_ours, mut is_there) = (false, false);
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_ours = name.trim() == profile;
            is_there |= is_ours;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_ours) {
            let to = match key.trim() {
                "aws_access_key_id" => &mut key_id,
                "aws_secret_access_key" => &mut secret_key,
                "aws_session_token" | "aws_security_token" => &mut token,
                _ => continue,
            };
            *to = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    if !is_there {
        return Err("it is not there".to_owned());
    }
    let key_id = key_id.ok_or("it has no aws_access_key_id")?;
    let secret_key = secret_key.ok_or("it has no aws_secret_access_key")?;
    Ok(AwsCredential { key_id, secret_key, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[default]\naws_access_key_id = a\naws_secret_access_key=b=c\n\n[ other ]\nregion = x\n\
                        aws_access_key_id=d\n; old\naws_secret_access_key=e\naws_session_token=f\n[half]\naws_access_key_id=g\n";

    fn keys(key_id: &str, secret_key: &str, token: Option<&str>) -> AwsCredential {
        AwsCredential { key_id: key_id.into(), secret_key: secret_key.into(), token: token.map(Into::into) }
    }

    #[test]
    fn profiles_are_read() {
        assert_eq!(profile_of(FILE, "default"), Ok(keys("a", "b=c", None)));
        assert_eq!(profile_of(FILE, "other"), Ok(keys("d", "e", Some("f"))));
        assert_eq!(profile_of(FILE, "half"), Err("it has no aws_secret_access_key".into()));
        assert_eq!(profile_of(FILE, "none"), Err("it is not there".into()));
    }

    #[test]
    fn variables_say_whether_the_file_is_read() {
        let home = tempfile::tempdir().expect("a folder");
        let find = |variables: &[(&str, &str)]| {
            let given = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            SharedKeys::find(|name| given(name).or_else(|| (name == "HOME").then(|| home.path().display().to_string())))
        };
        assert!(find(&[]).is_none(), "there is no file");
        std::fs::create_dir(home.path().join(".aws")).expect("a folder");
        std::fs::write(home.path().join(".aws/credentials"), FILE).expect("a file");
        assert!(find(&[]).is_some());
        assert!(find(&[("AWS_ACCESS_KEY_ID", "x"), ("AWS_PROFILE", "other")]).is_none(), "static keys go first");
        assert!(find(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "x")]).is_none(), "a role goes first");
        let named =
            find(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "x"), ("AWS_PROFILE", "other")]).expect("a profile is named");
        assert_eq!(*named.current().expect("it is there"), keys("d", "e", Some("f")));
        let absent = find(&[("AWS_SHARED_CREDENTIALS_FILE", "/no/such/file")]).expect("a file is named");
        let error = absent.current().expect_err("it is not there").to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }

    #[test]
    fn a_file_that_changed_is_read_again_and_one_that_is_broken_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("credentials");
        let write = |text: &str| std::fs::write(&path, text).expect("a file");
        write("[default]\naws_access_key_id=a\naws_secret_access_key=1\n");
        let shared = SharedKeys::new(path.clone(), "default".into());
        let current = || shared.current().expect("keys were read once");
        assert_eq!(*current(), keys("a", "1", None));
        // As long as before and within the same moment: only its content tells.
        write("[default]\naws_access_key_id=b\naws_secret_access_key=2\n");
        assert_eq!(*current(), keys("b", "2", None));
        write("[default]\naws_access_");
        assert_eq!(*current(), keys("b", "2", None));
        std::fs::remove_file(&path).expect("it was there");
        assert_eq!(*current(), keys("b", "2", None));
        write("[default]\naws_access_key_id=c\naws_secret_access_key=3\naws_session_token=t\n");
        assert_eq!(*current(), keys("c", "3", Some("t")));
        // Once it has settled it is not read for each request.
        let old = std::fs::File::options().write(true).open(&path).expect("a file");
        old.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("a time");
        assert!(Arc::ptr_eq(&current(), &current()));
    }
}
