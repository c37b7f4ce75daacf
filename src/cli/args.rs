//! The command line, as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::flags;
use crate::config::FlagValue;

/// A personal video library in Telegram channels: a mount, HLS views and an HTTP gateway over one
/// stored copy.
#[derive(Debug, Parser)]
#[command(name = "tgfs", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Directory for index, journal, spool and socket [default: $XDG_STATE_HOME/tgfs]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Everywhere")]
    pub(super) state: Option<PathBuf>,
    /// Read settings from this file instead of ./.env
    #[arg(long, value_name = "FILE", global = true, help_heading = "Everywhere")]
    pub(super) env_file: Option<PathBuf>,
    /// Store to keep the films in: local:DIR or telegram
    #[arg(long, value_name = "STORE", value_parser = flags::store, global = true, help_heading = "Everywhere")]
    pub(super) store: Option<String>,
    /// Least important messages to log: debug, info, warning or error
    #[arg(long, value_name = "LEVEL", value_parser = flags::level, global = true, help_heading = "Everywhere")]
    pub(super) log: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Mount the library, and run in the foreground until Ctrl-C or `tgfs umount`
    Mount(MountArgs),
    /// Run without a mount: only HTTP, and processing of new files
    Serve(ServeArgs),
    /// Unmount the library and stop its daemon
    Umount(UmountArgs),
    /// Stop the daemon of this state, with its mount if it has one
    Stop(StopArgs),
    /// Copy files into the library, with or without a mount
    Upload(UploadArgs),
    /// List files recursively, with their state and media facts
    List {
        /// Directory in the library, or in the mount
        #[arg(default_value = "/")]
        directory: OsString,
    },
    /// Show running jobs, and files that are only in the spool
    Status {
        /// Wait until all work is done; exit with 1 if a file failed
        #[arg(long)]
        wait: bool,
        /// Show only this file
        path: Option<OsString>,
    },
    /// Print a link that signs a browser in once, within ten minutes
    LoginLink,
    /// Print the URLs at which a file can be played
    Url {
        /// Print the URL of the file itself, which holds the library's token: whoever has it may do
        /// everything
        #[arg(long)]
        file: bool,
        /// File in the library, or in the mount
        path: OsString,
    },
    /// Delete files or directories, with their playlists and their bytes in the store
    Delete(DeleteArgs),
    /// Process files again that failed, were set aside, or have a temporary name
    Retry {
        /// Files in the library, or in the mount
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<OsString>,
    },
    /// Show how a film would be cut into segments; stores nothing
    Plan {
        /// File on this machine
        file: PathBuf,
    },
    /// Show every setting with its value and where it was set
    Config {
        /// Only check the settings, and report all problems at once
        #[arg(long)]
        check: bool,
    },
    /// Make the daemon read its settings again
    Reload,
    /// Show counts and sizes of index, journal, cache, spool and store
    DbStats,
    /// Drop unused cache entries and the list of finished jobs, and delete packs that nothing needs
    Cleanup {
        /// Drop entries that were not used for this long; 0 drops all
        #[arg(long, value_name = "N")]
        hours: u64,
    },
    /// Drop the cached blocks of a file, or of all files
    CacheClear {
        /// File in the library, or in the mount; all files if left out
        path: Option<OsString>,
    },
    /// Check that everything in the index exists in the store
    Verify {
        /// Read and check every block, which downloads the whole library
        #[arg(long)]
        deep: bool,
    },
    /// Rebuild the index from the store; the old index is kept beside it
    Recover {
        /// Take the library over from another daemon, which then stops writing
        #[arg(long)]
        take_over: bool,
    },
    /// Test each bot: sign in, check its rights, then post, read and delete a message
    TestBots {
        /// Also measure round trip and speed, with up to 64 MiB and one minute per bot; the limits
        /// go to FILE as JSON, or to stdout (the report then goes to stderr)
        #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
        measure: Option<Option<PathBuf>>,
    },
    /// Add the films that are already in a channel, without uploading them again
    Import(ImportArgs),
    /// Write a .strm file for each film, for media servers that play URLs (Jellyfin, Kodi)
    Strm(StrmArgs),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
pub(super) struct MountArgs {
    /// Refuse every change
    #[arg(long)]
    pub(super) read_only: bool,
    /// Let other users in (Jellyfin, Plex), as far as the modes of files allow
    #[arg(long)]
    pub(super) allow_other: bool,
    /// Address of the gateway, or off [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR|off", value_parser = flags::address)]
    pub(super) http: Option<String>,
    /// Empty directory; created if it is missing
    pub(super) mountpoint: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address of the gateway [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = flags::serving_address)]
    pub(super) http: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct UmountArgs {
    /// Wait until no file is only in the spool
    #[arg(long)]
    pub(super) wait_uploads: bool,
    /// Directory that the library is mounted on
    pub(super) mountpoint: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// Wait until no file is only in the spool
    #[arg(long)]
    pub(super) wait_uploads: bool,
}

#[derive(Debug, Args)]
pub(super) struct UploadArgs {
    /// Directory in the library
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) to: OsString,
    /// Return when the bytes are in the spool, before they are in the store
    #[arg(long)]
    pub(super) no_wait: bool,
    /// The older system's form
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) video: Vec<PathBuf>,
    /// Files on this machine
    #[arg(value_name = "FILE", required_unless_present = "video")]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Id (-100…) or @name of the channel; a bot must be a member
    #[arg(long, value_name = "CHANNEL", allow_hyphen_values = true)]
    pub(super) channel: String,
    /// Directory in the library
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) to: OsString,
    /// Return when the files are listed; a running daemon makes their playlists
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The older system's form
    #[arg(long, value_name = "ID", hide = true)]
    pub(super) video_id: Vec<OsString>,
    /// Paths in the library or in the mount, or ids from `tgfs list`
    #[arg(value_name = "PATH|ID", required_unless_present = "video_id")]
    pub(super) targets: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct StrmArgs {
    /// Address at which players reach the gateway, e.g. http://192.168.1.5:8080
    #[arg(long, value_name = "URL", value_parser = flags::base_url)]
    pub(super) base_url: String,
    /// Created if it is missing; .strm files of films that no longer exist are removed
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
}

impl Arguments {
    /// Returns the flags that are settings.
    ///
    /// # Errors
    /// If a path is not UTF-8: settings are texts.
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
