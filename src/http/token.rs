//! The token that stands for the owner where requests can come from beyond loopback.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Random bytes in a token: not guessable, and short enough to type once on a phone.
const TOKEN_BYTES: usize = 16;
/// Fewest characters that a hand-written token file may hold.
const MIN_TOKEN_CHARS: usize = 16;
/// Longest token file that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// A secret; neither `Debug` nor anything else shows it but [`Token::reveal`].
#[derive(Clone)]
pub struct Token {
    text: String,
    /// Compared instead of the text: the time of comparing digests says nothing about the secret.
    digest: blake3::Hash,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read or make the token file {path}: {source}")]
    File { path: String, source: io::Error },
    #[error(
        "the token file {path} must hold {MIN_TOKEN_CHARS} to {MAX_TOKEN_BYTES} letters, digits, `-`, `_`, `.` or `~` on one line; delete it to get a new one"
    )]
    Unusable { path: String },
}

impl Token {
    /// `None` unless the text can stand in a path of a URL as it is and is long enough.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (MIN_TOKEN_CHARS..=MAX_TOKEN_BYTES).contains(&text.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        (fits && text.bytes().all(plain)).then(|| Self {
            digest: blake3::hash(text.as_bytes()),
            text: text.to_owned(),
        })
    }
    /// Whether `shown` is the token, in constant time.
    #[must_use]
    pub fn matches(&self, shown: &[u8]) -> bool {
        // `blake3::Hash` compares in constant time.
        self.digest == blake3::hash(shown)
    }
    /// The secret itself, for the owner's own terminal.
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Reads the token file, or makes it (mode 0600) with a new random token. A file that others could
/// read is closed to them.
///
/// # Errors
/// When the file cannot be read or made, or holds no usable token.
pub fn load_or_create(path: &Path) -> Result<Token, TokenError> {
    let failed = |source| TokenError::File {
        path: path.display().to_string(),
        source,
    };
    match fs::read_to_string(path) {
        Ok(text) => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
            Token::parse(text.trim()).ok_or_else(|| TokenError::Unusable {
                path: path.display().to_string(),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// Written beside and renamed, so that no start ever finds half a token.
fn create(path: &Path) -> io::Result<Token> {
    let token = Token::random()?;
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
    fn a_token_never_shows_in_debug_output_and_a_weak_one_is_refused() {
        let token = Token::parse("0123456789abcdef").unwrap();
        assert!(!format!("{token:?}").contains("0123"));
        for bad in ["", "short", "0123456789 abcdef", "0123456789/abcdef"] {
            assert!(Token::parse(bad).is_none(), "{bad:?}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http-token");
        fs::write(&path, "short\n").unwrap();
        let error = load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("http-token"), "{error}");
    }
}
