//! The parts together, as the gateway and the commands use them.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::attempts::LoginAttempts;
use super::codes::LoginCodes;
use super::principal::Principal;
use super::secret::SecretText;
use super::sessions::{FoundSession, WebSessions};
use super::token::{self, HttpToken, TokenError};

/// Name of the token's file in the state directory.
const TOKEN_FILE: &str = "http-token";
/// Name of the file of sessions in the state directory.
const SESSIONS_FILE: &str = "http-sessions";

/// Token, sign-in codes and sessions of one library.
#[derive(Debug)]
pub struct Access {
    token: HttpToken,
    codes: LoginCodes,
    sessions: WebSessions,
    attempts: LoginAttempts,
}

impl Access {
    /// Reads the token and the sessions from the state directory; makes the token if it is missing.
    ///
    /// # Errors
    /// When the token's file cannot be read or created, or holds no usable token.
    pub fn open(state_dir: &Path) -> Result<Self, TokenError> {
        Ok(Self {
            token: read_token(state_dir)?,
            codes: LoginCodes::default(),
            sessions: WebSessions::open(&state_dir.join(SESSIONS_FILE)),
            attempts: LoginAttempts::default(),
        })
    }

    /// Returns whether `shown` is the token.
    #[must_use]
    pub fn is_token(&self, shown: &[u8]) -> bool {
        self.token.matches(shown)
    }

    /// Makes a code for a link that signs the owner in once.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn make_code(&self) -> io::Result<SecretText> {
        self.codes.make(Principal::owner(), Instant::now())
    }

    /// Uses a code up, and returns whom it signs in.
    #[must_use]
    pub fn redeem(&self, code: &str) -> Option<Principal> {
        self.codes.redeem(code, Instant::now())
    }

    /// Starts a session and returns the value of its cookie. Blocking: writes a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn start_session(&self, principal: Principal) -> io::Result<SecretText> {
        self.sessions.start(principal, SystemTime::now())
    }

    /// Returns the session of a cookie.
    #[must_use]
    pub fn session(&self, cookie: &str) -> Option<FoundSession> {
        self.sessions.find(cookie, SystemTime::now())
    }

    /// Writes the times of use of the sessions. Blocking.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_sessions(&self) -> io::Result<()> {
        self.sessions.save()
    }

    /// Ends the session of a cookie. Blocking: writes a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end_session(&self, cookie: &str) -> io::Result<()> {
        self.sessions.end(cookie)
    }

    /// Returns the time that an address has to wait before it may try to sign in.
    #[must_use]
    pub fn wait(&self, address: IpAddr) -> Duration {
        self.attempts.wait(address, Instant::now())
    }

    /// Counts a wrong code or token of an address, and returns the wait that follows it.
    pub fn failed(&self, address: IpAddr) -> Duration {
        self.attempts.failed(address, Instant::now())
    }

    /// Forgets the wrong codes and tokens of an address.
    pub fn succeeded(&self, address: IpAddr) {
        self.attempts.succeeded(address);
    }
}

/// Returns the token of a state directory; makes it if it is missing.
///
/// # Errors
/// When its file cannot be read or created, or holds no usable token.
pub fn read_token(state_dir: &Path) -> Result<HttpToken, TokenError> {
    token::load_or_create(&state_dir.join(TOKEN_FILE))
}
