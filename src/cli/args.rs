//! The command line, as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::FlagValue;

/// A personal video library in Telegram channels: a mount, HLS views and an HTTP gateway over one
/// stored copy.
#[derive(Debug, Parser)]
#[command(
    name = "tgfs",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Index, journal, spool and socket lie here [default: $XDG_STATE_HOME/tgfs]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Everywhere")]
    pub(super) state: Option<PathBuf>,
    /// Read settings from this file, not from ./.env
    #[arg(long, value_name = "FILE", global = true, help_heading = "Everywhere")]
    pub(super) env_file: Option<PathBuf>,
    /// Where packs are kept: local:DIR, or telegram
    #[arg(long, value_name = "STORE", global = true, help_heading = "Everywhere")]
    pub(super) store: Option<String>,
    /// debug, info, warning or error
    #[arg(long, value_name = "LEVEL", global = true, help_heading = "Everywhere")]
    pub(super) log: Option<String>,
    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Mount the library; runs in the foreground until Ctrl-C or `tgfs umount`
    Mount(MountArgs),
    /// Serve over HTTP and ingest, without a mount
    Serve(ServeArgs),
    /// Stop the daemon behind a mount
    Umount(UmountArgs),
    /// Put files into the library, as a copy into the mount would
    Upload(UploadArgs),
    /// Show files, recursively
    List {
        #[arg(default_value = "/")]
        directory: OsString,
    },
    /// Show jobs, and what is only in the spool
    Status {
        /// Until nothing more happens; fails when a file failed
        #[arg(long)]
        wait: bool,
        path: Option<OsString>,
    },
    /// Where a file can be played from
    Url { path: OsString },
    /// Remove files or directories, with their views and packs
    Delete(DeleteArgs),
    /// Ingest failed, quarantined or temp-named files
    Retry {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<OsString>,
    },
    /// What ingest would do with a file; stores nothing
    Plan { file: PathBuf },
    /// Every setting with its value and source
    Config {
        /// Report all problems at once
        #[arg(long)]
        check: bool,
    },
    /// Let the daemon read its settings again
    Reload,
    /// Counts and sizes of index, journal, cache, spool and store
    DbStats,
    /// Drop cache entries that were not used, and finished jobs
    Cleanup {
        /// Entries not used for this long; 0 drops all
        #[arg(long, value_name = "N")]
        hours: u64,
    },
    /// Drop cached blocks of a file, or all
    CacheClear { path: Option<OsString> },
    /// Hold the index against the store
    Verify {
        /// Read every block
        #[arg(long)]
        deep: bool,
    },
    /// Rebuild the index from the store alone, beside the old one
    Recover {
        /// End the claim of another writer
        #[arg(long)]
        take_over: bool,
    },
    /// Try what each bot can do: sign in, its rights, a message posted, read and deleted
    TestBots {
        /// Measure round trip and speed too: up to 64 MiB a bot, and a minute; the limits go to FILE
        /// as JSON, or to stdout (the report then to stderr)
        #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
        measure: Option<Option<PathBuf>>,
    },
    /// Take over the films in a channel, without uploading them again
    Import(ImportArgs),
    /// Write a .strm file for each film, for libraries that play from URLs (Jellyfin, Kodi)
    Strm(StrmArgs),
}

#[derive(Debug, Args)]
pub(super) struct MountArgs {
    /// Refuse every change
    #[arg(long)]
    pub(super) read_only: bool,
    /// Let other users in (Jellyfin, Plex), as far as modes allow
    #[arg(long)]
    pub(super) allow_other: bool,
    /// Address of the gateway, or off [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR|off")]
    pub(super) http: Option<String>,
    pub(super) mountpoint: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address of the gateway [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(super) http: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct UmountArgs {
    /// Only when nothing is left in the spool
    #[arg(long)]
    pub(super) wait_uploads: bool,
    pub(super) mountpoint: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct UploadArgs {
    /// Directory in the library
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) to: OsString,
    /// End when the bytes are in the spool
    #[arg(long)]
    pub(super) no_wait: bool,
    /// The older system's form
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) video: Vec<PathBuf>,
    #[arg(value_name = "FILE", required_unless_present = "video")]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Its id (-100…) or @name; a bot must be in it
    #[arg(long, value_name = "CHANNEL", allow_hyphen_values = true)]
    pub(super) channel: String,
    /// Directory in the library
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) to: OsString,
    /// End when the files are there; a running daemon makes their views
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The older system's form
    #[arg(long, value_name = "ID", hide = true)]
    pub(super) video_id: Vec<OsString>,
    #[arg(value_name = "PATH|ID", required_unless_present = "video_id")]
    pub(super) targets: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct StrmArgs {
    /// Where players reach the gateway, as http://192.168.1.5:8080
    #[arg(long, value_name = "URL")]
    pub(super) base_url: String,
    /// Made where it is missing; files of films that are gone are removed from it
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
}

impl Arguments {
    /// Flags that are settings.
    ///
    /// # Errors
    /// When a path is not UTF-8: settings are texts.
    pub(super) fn setting_flags(&self) -> anyhow::Result<Vec<FlagValue>> {
        let mut flags = Vec::new();
        let mut add = |setting, flag, value: &str| {
            let value = value.to_owned();
            flags.push(FlagValue {
                setting,
                flag,
                value,
            });
        };
        if let Some(state) = &self.global.state {
            let Some(state) = state.to_str() else {
                anyhow::bail!("--state must be UTF-8 text; choose another directory");
            };
            add("TGFS_STATE_DIR", "--state", state);
        }
        if let Some(store) = &self.global.store {
            add("TGFS_STORE", "--store", store);
        }
        if let Some(level) = &self.global.log {
            add("LOG_LEVEL", "--log", level);
        }
        let http = match &self.command {
            Command::Mount(mount) => mount.http.as_deref(),
            Command::Serve(serve) => serve.http.as_deref(),
            _ => None,
        };
        if let Some(http) = http {
            add("LOCAL_HOST", "--http", http);
        }
        Ok(flags)
    }
}
