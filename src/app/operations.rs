//! Operations of the control socket that only the composition root can do.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

use super::confinement::ToolConfinement;
use super::parts::{self, Parts};
use crate::access::Access;
use crate::access::codes::CODE_LIFETIME;
use crate::cache::{BlockCache, Dropped};
use crate::config::{self, ConfigHandle, ConfigInputs, Reloaded};
use crate::control::{
    Cleaned, DaemonInfo, LibraryReadiness, LoginLink, Operations, Response, Stat, StatUnit,
    Verified,
};
use crate::index::Index;
use crate::model::{
    AttachState, CacheStats, ConfinementInfo, EntryId, TreePath, VerifyDepth, shown,
};
use crate::remote::Remote;
use crate::spool::Spool;
use crate::sync::MutexExt as _;
use crate::telemetry::LevelSwitch;
use crate::upkeep::{cleanup, verify};
use crate::vfs::Vfs;

/// Addresses of a running daemon.
#[derive(Debug, Clone, Default)]
pub struct Faces {
    /// The mount, if there is one.
    pub mountpoint: Option<PathBuf>,
    /// URL of the gateway, if there is one.
    pub http: Option<String>,
    /// Those who may use the gateway; `None` if it asks nobody to sign in.
    pub access: Option<Arc<Access>>,
}

/// Inputs of a reload beside the parts.
#[derive(Debug)]
pub struct ReloadInputs {
    pub inputs: ConfigInputs,
    pub log_level: LevelSwitch,
}

/// Operations over the parts of an open library.
#[derive(Debug)]
pub struct AppOperations {
    index: Arc<Index>,
    remote: Arc<dyn Remote>,
    spool: Arc<Spool>,
    cache: Arc<BlockCache>,
    vfs: Vfs,
    ingest: crate::ingest::Ingest,
    config: ConfigHandle,
    faces: Mutex<Faces>,
    reload: Option<ReloadInputs>,
    stop: Arc<Notify>,
    confinement: Arc<ToolConfinement>,
}

/// Makes operations for a command that opened the state itself.
pub fn without_daemon(parts: &Parts, config: &ConfigHandle) -> AppOperations {
    AppOperations::new(parts, config, None, Arc::default())
}

impl AppOperations {
    pub fn new(
        parts: &Parts,
        config: &ConfigHandle,
        reload: Option<ReloadInputs>,
        stop: Arc<Notify>,
    ) -> Self {
        let configured = parts::base_url(&config.get());
        let http = (!configured.is_empty()).then_some(configured);
        Self {
            index: Arc::clone(&parts.index),
            remote: Arc::clone(&parts.remote),
            spool: Arc::clone(&parts.spool),
            cache: Arc::clone(&parts.cache),
            vfs: parts.vfs.clone(),
            ingest: parts.ingest.clone(),
            config: config.clone(),
            faces: Mutex::new(Faces {
                mountpoint: None,
                http,
                access: None,
            }),
            reload,
            stop,
            confinement: Arc::default(),
        }
    }

    /// Returns the confinement of media tools.
    pub fn confinement_of_tools(&self) -> Arc<ToolConfinement> {
        Arc::clone(&self.confinement)
    }

    /// Announces where the daemon can be reached.
    pub fn set_faces(&self, faces: Faces) {
        *self.faces.acquire() = faces;
    }

    fn faces(&self) -> Faces {
        self.faces.acquire().clone()
    }

    fn public_url(&self) -> Option<String> {
        self.config.get().http.public_base()
    }
}

/// Returns the cache's lines of `db-stats`; those of the disk and of pinned blocks only if there are any.
fn cache_lines(cache: &CacheStats) -> Vec<(&'static str, &'static str, u64, StatUnit)> {
    use StatUnit::{Bytes, Count};
    let mut lines = vec![
        ("cache", "size", cache.bytes, Bytes),
        ("cache", "capacity", cache.capacity_bytes, Bytes),
        ("cache", "blocks", cache.entries, Count),
        ("cache", "hits", cache.hits, Count),
        ("cache", "misses", cache.misses, Count),
        ("cache", "shared fetches", cache.joined, Count),
        ("cache", "fetched", cache.fetched_bytes, Bytes),
        ("cache", "evictions", cache.evictions, Count),
        ("cache", "prefetched", cache.ahead_fetched, Count),
        ("cache", "prefetched and used", cache.ahead_used, Count),
        ("cache", "prefetched, unused", cache.ahead_wasted, Count),
        ("cache", "prefetch errors", cache.ahead_errors, Count),
    ];
    for (part, tier) in [("disk cache", &cache.disk), ("pinned", &cache.pinned)] {
        if tier.capacity_bytes == 0 {
            continue;
        }
        lines.extend([
            (part, "size", tier.bytes, Bytes),
            (part, "capacity", tier.capacity_bytes, Bytes),
            (part, "blocks", tier.entries, Count),
            (part, "hits", tier.hits, Count),
            (part, "written", tier.written_bytes, Bytes),
            (part, "not written", tier.unwritten, Count),
            (part, "evictions", tier.evictions, Count),
            (part, "damaged", tier.damaged, Count),
        ]);
    }
    lines
}

fn cleaned(dropped: Dropped) -> Cleaned {
    Cleaned {
        cache_bytes: dropped.bytes,
        cache_blocks: dropped.blocks,
        ..Cleaned::default()
    }
}

#[async_trait::async_trait]
impl Operations for AppOperations {
    fn daemon(&self) -> DaemonInfo {
        let config = self.config.get();
        let faces = self.faces();
        let mountpoint = faces
            .mountpoint
            .map(|path| path.into_os_string().into_vec());
        DaemonInfo {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mountpoint: mountpoint.as_deref().map(shown::readable),
            mountpoint_bytes: mountpoint.as_deref().and_then(shown::inexact_bytes),
            http: faces.http,
            public: self.public_url(),
            store: self.remote.describe(),
            state_dir: shown::readable(config.state_dir.as_os_str().as_bytes()),
            library: match self.vfs.is_loading() {
                true => LibraryReadiness::Loading,
                false => LibraryReadiness::Usable,
            },
            login: None,
        }
    }

    fn troubles(&self) -> Vec<String> {
        self.remote.troubles()
    }

    async fn confinement(&self) -> ConfinementInfo {
        self.confinement.get().await
    }

    async fn stats(&self) -> Result<Vec<Stat>, String> {
        let mut stats = Vec::new();
        let mut add = |part: &str, name: &str, value: u64, unit: StatUnit| {
            stats.push(Stat {
                part: part.to_owned(),
                name: name.to_owned(),
                value,
                unit,
            });
        };
        let (files, directories) = self.vfs.count().map_err(|error| error.to_string())?;
        add("tree", "files", files, StatUnit::Count);
        add("tree", "directories", directories, StatUnit::Count);
        let sizes = self.index.sizes().map_err(|error| error.to_string())?;
        add("index", "size", sizes.index, StatUnit::Bytes);
        add("journal", "size", sizes.journal, StatUnit::Bytes);
        let unpublished = self
            .index
            .unpublished()
            .map_err(|error| error.to_string())?;
        add(
            "journal",
            "unpublished entries",
            unpublished.len() as u64,
            StatUnit::Count,
        );
        self.cache.found().await;
        let cache = self.vfs.cache_stats();
        for stat in cache_lines(&cache) {
            let (part, name, value, unit) = stat;
            add(part, name, value, unit);
        }
        add("spool", "size", self.spool.used(), StatUnit::Bytes);
        add("spool", "free", self.spool.free(), StatUnit::Bytes);
        let pending = self.vfs.pending().map_err(|error| error.to_string())?;
        add("spool", "files only here", pending.files, StatUnit::Count);
        add("spool", "bytes only here", pending.bytes, StatUnit::Bytes);
        add("spool", "oldest", pending.oldest_seconds, StatUnit::Seconds);
        let packs = self.vfs.pack_totals().map_err(|error| error.to_string())?;
        add("remote", "packs", packs.packs, StatUnit::Count);
        add("remote", "size", packs.bytes, StatUnit::Bytes);
        let left = cleanup::left_behind(&self.index).map_err(|error| error.to_string())?;
        add("remote", "undeletable packs", left.packs, StatUnit::Count);
        add("remote", "undeletable size", left.bytes, StatUnit::Bytes);
        Ok(stats)
    }

    async fn cleanup(&self, unused_for: Duration) -> Result<Cleaned, String> {
        self.cache.found().await;
        let mut cleaned = cleaned(self.cache.clear_unused(unused_for));
        cleaned.finished_jobs = self.ingest.forget_finished();
        if !self.index.store_status().borrow().is_attached() {
            // Until the log is known, no pack is surely without use. The next run looks again.
            return Ok(cleaned);
        }
        let keep = self.config.get().keep_deleted;
        let in_use = self.vfs.packs_in_use();
        let done = cleanup::delete_dying_packs(&self.index, &self.remote, keep, &|pack| {
            in_use.contains(&pack)
        })
        .await
        .map_err(|error| error.to_string())?;
        if let Some(problem) = &done.problem {
            tracing::warn!(
                packs = done.failed,
                "packs that nothing needs could not be deleted now: {problem}"
            );
        }
        cleaned.packs = done.deleted;
        cleaned.pack_bytes = done.bytes;
        cleaned.packs_left = done.left;
        cleaned.packs_failed = done.failed;
        Ok(cleaned)
    }

    async fn clear_cache(&self, file: Option<EntryId>) -> Result<Cleaned, String> {
        self.cache.found().await;
        let dropped = self.vfs.cache_clear(file);
        dropped.map(cleaned).map_err(|error| error.to_string())
    }

    async fn verify(&self, depth: VerifyDepth, out: &Sender<Response>) -> Result<Verified, String> {
        let status = self.vfs.store_status();
        if status.state == AttachState::Filling {
            return Err(status.explain().unwrap_or_default());
        }
        let report = verify::verify(&self.index, &self.remote, depth, &mut |report| {
            let (step, done) = match depth {
                VerifyDepth::Packs => ("compared", report.bytes),
                VerifyDepth::Blocks => ("read", report.read),
            };
            let progress = Response::Progress {
                path: "verify".to_owned(),
                step: step.to_owned(),
                done: done.min(report.total),
                total: report.total,
            };
            // A client that does not keep up hears the next one.
            let _ = out.try_send(progress);
        })
        .await
        .map_err(|error| error.to_string())?;
        for problem in &report.problems {
            let text = format!(
                "{}: pack {}: {}",
                problem.name, problem.pack, problem.reason
            );
            // The client may have gone. Nobody reads the count at the end then either.
            let _ = out.send(Response::Finding { text }).await;
        }
        for text in &report.log {
            let text = text.clone();
            let _ = out.send(Response::Finding { text }).await;
        }
        let left = cleanup::left_behind(&self.index).map_err(|error| error.to_string())?;
        Ok(Verified {
            packs_left: left.packs,
            packs_fading: report.fading,
            packs: report.packs,
            bytes: report.bytes,
            bytes_read: report.read,
            findings: (report.problems.len() + report.log.len()) as u64,
        })
    }

    async fn import(
        &self,
        channel: &str,
        directory: &TreePath,
        out: &Sender<Response>,
    ) -> Result<(), String> {
        let status = self.vfs.store_status();
        if !status.is_attached() {
            let reason = status.explain();
            return Err(reason.unwrap_or_else(|| "the store cannot be reached now".to_owned()));
        }
        super::import::import(&self.vfs, &self.remote, channel, directory, out).await
    }

    async fn reload(&self) -> Result<Reloaded, String> {
        let Some(reload) = &self.reload else {
            return Err("no daemon runs; each command reads the settings itself".to_owned());
        };
        let done =
            config::reload(&self.config, &reload.inputs).map_err(|problems| problems.join("; "))?;
        let config = self.config.get();
        reload.log_level.set(config.log.level);
        let base = self
            .faces()
            .http
            .unwrap_or_else(|| parts::base_url(&config));
        self.vfs.reconfigure(parts::vfs_settings(&config, &base));
        self.ingest.reconfigure(parts::ingest_settings(&config));
        Ok(done)
    }

    fn login_link(&self) -> Result<LoginLink, String> {
        if self.reload.is_none() {
            return Err("no daemon runs; its `ready` line names a link when it starts".to_owned());
        }
        let faces = self.faces();
        let Some(base) = faces.http else {
            return Err("HTTP is off, so there is nothing to sign in to".to_owned());
        };
        let Some(access) = faces.access else {
            return Err("TGFS_HTTP_OPEN is on: nobody needs to sign in".to_owned());
        };
        let code = access.make_code().map_err(|error| error.to_string())?;
        let link = |base: &str| format!("{base}/login?code={}", code.reveal());
        Ok(LoginLink {
            url: link(&base),
            public: self.public_url().as_deref().map(link),
            seconds: CODE_LIFETIME.as_secs(),
        })
    }

    fn stop(&self) {
        self.stop.notify_one();
    }
}
