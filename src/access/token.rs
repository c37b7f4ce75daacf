//! The token that identifies the owner in requests from other machines.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::disk;

/// Random bytes in a token: enough to be unguessable, few enough to type once on a phone.
const TOKEN_BYTES: usize = 16;
/// Minimum length of a hand-written token in characters.
const MIN_TOKEN_CHARS: usize = 16;
/// Maximum length of a token in bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// The owner's secret. Only [`HttpToken::reveal`] shows it.
#[derive(Clone)]
pub struct HttpToken {
    text: String,
    /// Digest that is compared in place of the text. The time of the comparison then reveals nothing about
    /// the secret.
    digest: blake3::Hash,
}

/// Reason why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read or create the token file {path}: {source}")]
    File { path: String, source: io::Error },
    #[error(
        "the token file {path} must hold {MIN_TOKEN_CHARS} to {MAX_TOKEN_BYTES} letters, digits, `-`, `_`, `.` or `~` on one line; delete it to get a new one"
    )]
    Unusable { path: String },
}

impl HttpToken {
    /// Reads a token; `None` if the text is too short or too long, or cannot be part of a URL as it is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (MIN_TOKEN_CHARS..=MAX_TOKEN_BYTES).contains(&text.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        (fits && text.bytes().all(plain)).then(|| Self {
            digest: blake3::hash(text.as_bytes()),
            text: text.to_owned(),
        })
    }
    /// Returns whether `shown` is the token, in constant time.
    #[must_use]
    pub fn matches(&self, shown: &[u8]) -> bool {
        // `blake3::Hash` compares in constant time.
        self.digest == blake3::hash(shown)
    }
    /// Returns the secret itself, for the owner's own terminal.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }
    fn random() -> io::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            digest: blake3::hash(text.as_bytes()),
            text,
        })
    }
}

impl fmt::Debug for HttpToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpToken(…)")
    }
}

/// Reads the token file, or creates it with a new random token. Its mode becomes 0600 either way.
///
/// # Errors
/// When the file cannot be read or created, or holds no usable token.
pub fn load_or_create(path: &Path) -> Result<HttpToken, TokenError> {
    let failed = |source| TokenError::File {
        path: path.display().to_string(),
        source,
    };
    match disk::read_regular_text(path) {
        Ok(text) => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
            HttpToken::parse(text.trim()).ok_or_else(|| TokenError::Unusable {
                path: path.display().to_string(),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// Creates the token file. It is renamed into place, so that no start finds half a token.
fn create(path: &Path) -> io::Result<HttpToken> {
    let token = HttpToken::random()?;
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "{}", token.reveal())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http-token");
        let made = load_or_create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let read = load_or_create(&path).unwrap();
        assert_eq!(made.reveal(), read.reveal());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(read.matches(made.reveal().as_bytes()));
        assert!(!read.matches(b""));
        assert!(!read.matches(&made.reveal().as_bytes()[1..]));
    }

    #[test]
    fn a_token_is_read_from_a_regular_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, others) = (
            directory.path().join("http-token"),
            directory.path().join("x"),
        );
        fs::write(&others, "0123456789abcdef").unwrap();
        fs::set_permissions(&others, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&others, &path).unwrap();
        load_or_create(&path).unwrap_err();
        let mode = fs::metadata(&others).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        load_or_create(&path).unwrap_err();
    }

    #[test]
    fn a_token_never_shows_in_debug_output_and_a_weak_one_is_refused() {
        let token = HttpToken::parse("0123456789abcdef").unwrap();
        assert!(!format!("{token:?}").contains("0123"));
        for bad in ["", "short", "0123456789 abcdef", "0123456789/abcdef"] {
            assert!(HttpToken::parse(bad).is_none(), "{bad:?}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http-token");
        fs::write(&path, "short\n").unwrap();
        let error = load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("http-token"), "{error}");
    }
}
