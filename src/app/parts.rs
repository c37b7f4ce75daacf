//! The parts of an open library, from settings: store, index, spool, cache, ingest, file system.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::attach::{self, Attaching, Ends, Leftovers, Need};
use super::store::{self, OpenStore};
use crate::cache::{BlockCache, DiskLimits, DiskStore, Eviction, Tiers};
use crate::config::Config;
use crate::index::{Index, IndexError, Owner};
use crate::ingest::publish::publisher::Publisher;
use crate::ingest::{Ingest, IngestParts, IngestSettings, Workers};
use crate::media::build::cuts::CutPolicy;
use crate::media::tool::ffmpeg::Ffmpeg;
use crate::process::Launcher;
use crate::read::{AheadLimits, ExtentReader};
use crate::remote::{Locality, LockedRemote, PackStore as _, Remote};
use crate::spool::{Spool, SpoolConfig};
use crate::tree::Tree;
use crate::vfs::{Vfs, VfsParts, VfsSettings};

/// Free space in bytes that the spool leaves if no size is set.
const SPOOL_LEAVES_FREE: u64 = 5 << 30;
/// Smallest default of the spool's size, in bytes. It is enough to work with, and the reserve is kept
/// anyway.
const SMALLEST_SPOOL: u64 = 256 << 20;

/// Time without a use after which pinned blocks make room for new ones.
const PINNED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Purpose of opening a state, which decides whether the process also works on its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenPurpose {
    /// Only answers.
    Look,
    /// Runs ingest as a daemon would, for one command.
    Ingest,
    /// A daemon, which goes on when the store does not answer.
    Serve,
}

/// The parts of an open library.
#[derive(Debug)]
pub struct Parts {
    pub index: Arc<Index>,
    pub remote: Arc<dyn Remote>,
    pub spool: Arc<Spool>,
    pub cache: Arc<BlockCache>,
    pub ingest: Ingest,
    pub vfs: Vfs,
    attaching: Attaching,
}

impl Parts {
    /// Opens index and store, begins to bring them in step, and starts what `purpose` asks for.
    /// `launcher` starts media tools.
    ///
    /// # Errors
    /// If another process uses the state or the store, if the disk fails, or if the store answers at
    /// once that they do not belong together.
    pub async fn open(
        config: &Config,
        purpose: OpenPurpose,
        launcher: Launcher,
    ) -> anyhow::Result<Self> {
        let state = config.state_dir.clone();
        let (index, report) =
            tokio::task::spawn_blocking(move || Index::open(&state, Owner::of_process()))
                .await?
                .map_err(|error| about_state(error, config))?;
        report
            .notes
            .iter()
            .for_each(|remark| tracing::warn!("{remark}"));
        let index = Arc::new(index);
        let store = store::open(config, &index.store_description(), index.key_store())?;
        Self::assemble(config, purpose, launcher, index, store).await
    }

    /// Does the rest of [`Self::open`], with index and store open already.
    pub(super) async fn assemble(
        config: &Config,
        purpose: OpenPurpose,
        launcher: Launcher,
        index: Arc<Index>,
        store: OpenStore,
    ) -> anyhow::Result<Self> {
        let remote: Arc<dyn Remote> = Arc::<LockedRemote>::clone(&store.remote);
        let spool = Arc::new(
            Spool::open(spool_config(config))
                .with_context(|| format!("the spool {}", config.spool.dir.display()))?,
        );
        let cache = Arc::new(BlockCache::with_tiers(
            Arc::clone(&remote),
            config.cache.memory,
            config.read_deadline,
            tiers(config, &*remote),
        ));
        lend(&cache, &spool, config);
        let limits = AheadLimits {
            segments: config.preload.segments,
            readers: config.preload.readers,
        };
        let reader = ExtentReader::new(
            Arc::clone(&spool),
            Arc::clone(&cache),
            config.read_deadline,
            limits,
        );
        let tree = Arc::new(Tree::new(Arc::clone(&index)));
        let files = Arc::clone(&tree);
        let unpublished = index.unpublished()?;
        let ingest_parts = IngestParts {
            unpublished,
            index: Arc::clone(&index),
            tree: Arc::clone(&tree),
            spool: Arc::clone(&spool),
            reader: reader.clone(),
            remote: Arc::clone(&remote),
            publisher: Publisher::start(Arc::clone(&index), Arc::clone(&remote)),
            tool: Arc::new(Ffmpeg::new(launcher).with_threads(config.media.threads)),
        };
        let workers = match purpose {
            OpenPurpose::Look => Workers::None,
            OpenPurpose::Ingest | OpenPurpose::Serve => Workers::Running,
        };
        let ingest = Ingest::start(ingest_parts, ingest_settings(config), workers)
            .map_err(|error| anyhow!("{error}"))?;
        let vfs_parts = VfsParts {
            index: Arc::clone(&index),
            tree,
            spool: Arc::clone(&spool),
            cache: Arc::clone(&cache),
            reader,
            ingest: ingest.clone(),
        };
        let vfs = Vfs::start(vfs_parts, vfs_settings(config, &base_url(config)))
            .map_err(|error| anyhow!("{error}"))?;
        let ends = Ends {
            index: Arc::clone(&index),
            store,
            tree: files,
            vfs: vfs.clone(),
            ingest: ingest.clone(),
            leftovers: match purpose {
                OpenPurpose::Look => Leftovers::Leave,
                OpenPurpose::Ingest | OpenPurpose::Serve => Leftovers::TakeUp,
            },
        };
        let attaching = tie(ends, purpose).await?;
        Ok(Self {
            index,
            remote,
            spool,
            cache,
            ingest,
            vfs,
            attaching,
        })
    }

    /// Applies changed settings.
    pub fn reconfigure(&self, config: &Config, base_url: &str) {
        self.vfs.reconfigure(vfs_settings(config, base_url));
        self.ingest.reconfigure(ingest_settings(config));
    }

    /// Commits open files and makes index and journal durable.
    ///
    /// # Errors
    /// The first error. Everything else is closed anyway.
    pub async fn close(self) -> anyhow::Result<()> {
        self.attaching.stop().await;
        let committed = self.vfs.commit_all().await;
        self.ingest.stop().await;
        self.cache.close().await;
        let index = Arc::clone(&self.index);
        let shut = tokio::task::spawn_blocking(move || index.shutdown()).await?;
        committed.map_err(|error| anyhow!("{error}"))?;
        shut.context("the index could not be written")?;
        Ok(())
    }
}

/// Names the state directory, unless the error does so itself.
fn about_state(error: IndexError, config: &Config) -> anyhow::Error {
    match error {
        IndexError::Locked { .. } => error.into(),
        error => {
            anyhow::Error::new(error).context(format!("the state {}", config.state_dir.display()))
        }
    }
}

/// Begins to bring state and store in step, and takes up leftovers of the last run. When the store answers
/// soon, everything is done when this returns.
async fn tie(ends: Ends, purpose: OpenPurpose) -> anyhow::Result<Attaching> {
    let is_near = ends.store.remote.locality() == Locality::Near;
    if purpose == OpenPurpose::Look && attach::is_known(&ends.index) && !is_near {
        return Ok(Attaching::none());
    }
    let need = match purpose {
        OpenPurpose::Look | OpenPurpose::Ingest => Need::Library,
        OpenPurpose::Serve => Need::Daemon,
    };
    let ingest = ends.ingest.clone();
    let begun = Attaching::begin(ends, need).await;
    if begun.is_err() {
        ingest.stop().await;
    }
    begun
}

/// Opens the tiers below the memory cache. A directory that cannot be used only costs speed.
fn tiers(config: &Config, remote: &dyn Remote) -> Tiers {
    if remote.locality() == Locality::Near {
        // Its packs are on a disk already.
        return Tiers::default();
    }
    let open = |what: &str, limits: DiskLimits| {
        let directory = limits.directory.clone();
        match DiskStore::open(limits) {
            Ok(store) => Some(store),
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "no {what}: it cannot be used");
                None
            }
        }
    };
    // With less free space the spool would be the next to run out of room.
    let floor = config.spool.reserve.saturating_mul(2);
    let disk = config.cache.disk.as_ref().and_then(|disk| {
        let limits = DiskLimits {
            directory: disk.dir.clone(),
            budget: disk.size,
            floor,
            eviction: Eviction::Oldest,
        };
        open("disk cache", limits)
    });
    let pinned = (config.cache.pinned > 0).then(|| DiskLimits {
        directory: config.state_dir.join("pinned"),
        budget: config.cache.pinned,
        floor,
        eviction: Eviction::Unused(PINNED_FOR),
    });
    Tiers {
        disk,
        pinned: pinned.and_then(|limits| open("pinned blocks", limits)),
    }
}

/// Lets the spool take space from the disk cache if both are on one disk.
fn lend(cache: &Arc<BlockCache>, spool: &Spool, config: &Config) {
    let device = |path: &std::path::Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    let disk = config.cache.disk.as_ref();
    let shared = disk.is_some_and(|disk| {
        let of_cache = device(&disk.dir);
        of_cache.is_some() && of_cache == device(&config.spool.dir)
    });
    if shared {
        let cache = Arc::downgrade(cache);
        spool.count_as_free(move || cache.upgrade().map_or(0, |cache| cache.yielding_bytes()));
    }
}

fn spool_config(config: &Config) -> SpoolConfig {
    let directory = config.spool.dir.clone();
    let capacity = config
        .spool
        .size
        .unwrap_or_else(|| default_spool_bytes(config));
    SpoolConfig {
        directory,
        capacity,
        reserve: config.spool.reserve,
    }
}

fn default_spool_bytes(config: &Config) -> u64 {
    // The spool may not exist yet, but one of its ancestors does, on the same file system.
    let free = config.spool.dir.ancestors().find_map(|path| {
        let space = nix::sys::statvfs::statvfs(path).ok()?;
        Some(space.blocks_available() * space.fragment_size())
    });
    free.unwrap_or(u64::MAX)
        .saturating_sub(SPOOL_LEAVES_FREE)
        .max(SMALLEST_SPOOL)
}

/// Returns the settings of ingest.
pub fn ingest_settings(config: &Config) -> IngestSettings {
    IngestSettings {
        pack_bytes: config.pack_size,
        cuts: cut_policy(config),
        compat: config.media.compat,
    }
}

/// Returns the policy of cuts.
pub fn cut_policy(config: &Config) -> CutPolicy {
    CutPolicy {
        min_seconds: config.media.min_segment.as_secs_f64(),
        max_seconds: config.media.max_segment.as_secs_f64(),
        max_chunk_bytes: config.media.max_chunk_bytes,
        oversize: config.media.oversize,
    }
}

/// Returns the settings of the file system.
pub fn vfs_settings(config: &Config, base_url: &str) -> VfsSettings {
    VfsSettings {
        settle: config.mount.settle,
        read_deadline: config.read_deadline,
        write_deadline: config.write_deadline,
        keep_deleted: config.keep_deleted,
        max_file_size: config.spool.max_file_size.unwrap_or(0),
        hls_listing: config.mount.hls_listing,
        sidecars: config.mount.sidecars,
        base_url: base_url.to_owned(),
    }
}

/// Returns the URL of the gateway according to the settings; empty when HTTP is off.
pub fn base_url(config: &Config) -> String {
    use crate::config::HttpBind;
    match &config.http.bind {
        HttpBind::Off => String::new(),
        HttpBind::At { host, port } => {
            let address = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let bound = SocketAddr::new(address, *port);
            crate::http::own_base(config.http.scheme(), Some(host), bound)
        }
    }
}
