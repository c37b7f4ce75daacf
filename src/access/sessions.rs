//! Sessions of browsers: who signed in, and when the session was used last. The file holds digests, so a
//! copy of it signs nobody in.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::principal::Principal;
use super::secret::{SecretText, secret_digest};
use crate::disk;
use crate::sync::MutexExt as _;

/// Time without use after which a session ends.
pub const IDLE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Steps in which the time of the last use is kept: not each request writes the file.
const USE_STEP: Duration = Duration::from_secs(3600);
/// Maximum of sessions; a new one replaces the one that was idle for longest.
const MAX_SESSIONS: usize = 1000;
/// Maximum size of the file in bytes; a larger one is not ours.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Form of the file.
const FILE_VERSION: u32 = 1;

/// One session of a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WebSession {
    /// Digest of the cookie's value, in hexadecimal.
    digest: String,
    principal: Principal,
    /// Seconds since 1970.
    created: u64,
    /// Seconds since 1970, up to [`USE_STEP`] old.
    used: u64,
}

/// Content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct SessionFile {
    version: u32,
    sessions: Vec<WebSession>,
}

/// Lookup of a session that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSession {
    pub principal: Principal,
    pub freshness: FileFreshness,
}

/// Relation of the file to the sessions in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFreshness {
    Current,
    /// [`WebSessions::save`] should be called.
    Outdated,
}

/// The sessions, in memory and in their file.
#[derive(Debug)]
pub struct WebSessions {
    path: PathBuf,
    sessions: Mutex<Vec<WebSession>>,
    /// Held while the file is written, so that an older content never replaces a newer one.
    writing: Mutex<()>,
    /// Set when the last write failed.
    is_unsaved: AtomicBool,
}

impl WebSessions {
    /// Reads the file. A missing, damaged or newer one means that everybody signs in again.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let sessions = read(path).unwrap_or_else(|reason| {
            tracing::warn!(
                "{} cannot be used, so everybody has to sign in again: {reason}",
                path.display()
            );
            Vec::new()
        });
        Self {
            path: path.to_owned(),
            sessions: Mutex::new(sessions),
            writing: Mutex::default(),
            is_unsaved: AtomicBool::new(false),
        }
    }

    /// Starts a session, writes the file, and returns the value of the cookie.
    ///
    /// # Errors
    /// When the file cannot be written; there is no session then.
    pub fn start(&self, principal: Principal, now: SystemTime) -> io::Result<SecretText> {
        let secret = SecretText::random()?;
        let digest = secret.digest().to_hex().to_string();
        let now = seconds(now);
        let session = WebSession {
            digest: digest.clone(),
            principal,
            created: now,
            used: now,
        };
        {
            let mut sessions = self.sessions.acquire();
            sessions.retain(|session| is_alive(session, now));
            if sessions.len() >= MAX_SESSIONS {
                let idlest = (0..sessions.len()).min_by_key(|&at| sessions[at].used);
                idlest.map(|at| sessions.swap_remove(at));
            }
            sessions.push(session);
        }
        match self.save() {
            Ok(()) => Ok(secret),
            Err(error) => {
                self.sessions
                    .acquire()
                    .retain(|session| session.digest != digest);
                Err(error)
            }
        }
    }

    /// Returns the session whose cookie has the value `shown`, and notes its use.
    pub fn find(&self, shown: &str, now: SystemTime) -> Option<FoundSession> {
        let digest = secret_digest(shown);
        let now = seconds(now);
        let mut sessions = self.sessions.acquire();
        let session = sessions.iter_mut().find(|session| {
            blake3::Hash::from_hex(&session.digest).is_ok_and(|known| known == digest)
        })?;
        if !is_alive(session, now) {
            return None;
        }
        let freshness = if now.saturating_sub(session.used) >= USE_STEP.as_secs() {
            session.used = now;
            FileFreshness::Outdated
        } else {
            FileFreshness::Current
        };
        Some(FoundSession {
            principal: session.principal.clone(),
            freshness,
        })
    }

    /// Ends the session whose cookie has the value `shown`, and writes the file.
    ///
    /// # Errors
    /// When the file cannot be written. The session has ended until the next start.
    pub fn end(&self, shown: &str) -> io::Result<()> {
        let digest = secret_digest(shown).to_hex();
        let is_ended = {
            let mut sessions = self.sessions.acquire();
            let before = sessions.len();
            sessions.retain(|session| session.digest != digest.as_str());
            sessions.len() < before
        };
        // Strangers may sign out of nothing, and each write waits for the disk.
        match is_ended || self.is_unsaved.load(Ordering::Relaxed) {
            true => self.save(),
            false => Ok(()),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self) -> io::Result<()> {
        let _writing = self.writing.acquire();
        let file = SessionFile {
            version: FILE_VERSION,
            sessions: self.sessions.acquire().clone(),
        };
        let text = serde_json::to_vec(&file)?;
        let written = disk::write_durably(&self.path, |file| file.write_all(&text));
        self.is_unsaved.store(written.is_err(), Ordering::Relaxed);
        written
    }
}

fn read(path: &Path) -> Result<Vec<WebSession>, String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err("it is no file of sessions".to_owned());
    }
    let bytes = disk::read_regular(path).map_err(|error| error.to_string())?;
    let file: SessionFile = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if file.version != FILE_VERSION {
        return Err(format!(
            "it has the form {} of another release",
            file.version
        ));
    }
    Ok(file.sessions)
}

fn is_alive(session: &WebSession, now: u64) -> bool {
    now.saturating_sub(session.used) < IDLE_LIFETIME.as_secs()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::principal::{Identity, Role};
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http-sessions");
        (directory, path)
    }

    #[test]
    fn a_session_outlives_a_restart_and_its_secret_is_not_on_the_disk() {
        let (_directory, path) = place();
        let viewer = Principal {
            identity: Identity::User("ann".to_owned()),
            role: Role::Viewer,
        };
        let now = SystemTime::now();
        let secret = WebSessions::open(&path).start(viewer.clone(), now).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(secret.reveal()), "{text}");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = WebSessions::open(&path);
        assert_eq!(again.find(secret.reveal(), now).unwrap().principal, viewer);
        assert_eq!(again.find("x", now), None);
        // The digest in the file signs nobody in.
        assert_eq!(again.find(&secret.digest().to_hex(), now), None);
        fs::remove_file(&path).unwrap();
        again.end("no session").unwrap();
        assert!(!path.exists(), "nothing has changed");
        again.end(secret.reveal()).unwrap();
        assert_eq!(WebSessions::open(&path).find(secret.reveal(), now), None);
    }

    #[test]
    fn thirty_idle_days_end_a_session_and_use_keeps_it() {
        let (_directory, path) = place();
        let sessions = WebSessions::open(&path);
        let start = SystemTime::now();
        let used = sessions.start(Principal::owner(), start).unwrap();
        let idle = sessions.start(Principal::owner(), start).unwrap();
        let later = start + IDLE_LIFETIME - Duration::from_secs(1);
        let found = sessions.find(used.reveal(), later).unwrap();
        assert_eq!(found.freshness, FileFreshness::Outdated);
        let found = sessions.find(used.reveal(), later).unwrap();
        assert_eq!(found.freshness, FileFreshness::Current);
        sessions.save().unwrap();
        let sessions = WebSessions::open(&path);
        let end = start + IDLE_LIFETIME;
        assert_eq!(sessions.find(idle.reveal(), end), None);
        assert!(sessions.find(used.reveal(), end).is_some());
    }

    #[test]
    fn a_damaged_file_and_too_many_sessions_do_no_harm() {
        let (_directory, path) = place();
        fs::write(&path, "{\"version\":1,").unwrap();
        let sessions = WebSessions::open(&path);
        let now = SystemTime::now();
        *sessions.sessions.acquire() = (0..MAX_SESSIONS as u64)
            .map(|at| WebSession {
                digest: format!("{at:064x}"),
                principal: Principal::owner(),
                created: seconds(now),
                used: seconds(now) - at,
            })
            .collect();
        let newest = sessions.start(Principal::owner(), now).unwrap();
        assert_eq!(sessions.sessions.acquire().len(), MAX_SESSIONS);
        assert!(sessions.find(newest.reveal(), now).is_some());
    }
}
