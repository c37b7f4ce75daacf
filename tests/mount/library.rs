//! A library over a directory, assembled as the daemon assembles it, with a remote that can be made to fail.
#![allow(dead_code)] // Each test binary uses its part of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tgfs::cache::{BlockCache, DiskLimits, DiskStore, Eviction, Tiers};
use tgfs::index::{Index, IndexError, OpenReport, Owner};
use tgfs::ingest::publish::publisher::Publisher;
use tgfs::ingest::{Ingest, IngestParts, IngestSettings, Workers};
use tgfs::media::build::cuts::CutPolicy;
use tgfs::media::tool::ffmpeg::Ffmpeg;
use tgfs::model::{Compat, HlsListing, LibraryClaim, SidecarSubtitles};
use tgfs::process::Launcher;
use tgfs::read::{AheadLimits, ExtentReader};
use tgfs::remote::retry::Deadline;
use tgfs::remote::testing::{Distance, DistantRemote, FaultyRemote, Traffic};
use tgfs::remote::{KdfCost, LocalRemote, LockedRemote, Passphrases, Remote, WriteHints};
use tgfs::spool::{Spool, SpoolConfig};
use tgfs::tree::Tree;
use tgfs::upkeep::fill::{Patience, attach};
use tgfs::vfs::{Vfs, VfsParts, VfsSettings};
use tokio::runtime::Runtime;

/// Settings of the library that a test opens.
#[derive(Debug, Clone)]
pub struct LibrarySettings {
    pub spool_bytes: u64,
    /// Size of a pack; small, so that small files take several packs.
    pub pack_bytes: u64,
    pub read_deadline: Duration,
    /// Deadline of the remote's answers at start.
    pub attach_deadline: Duration,
    pub write_hints: WriteHints,
    /// Makes the store respond as if it were this far away.
    pub distance: Option<Distance>,
    pub cache_bytes: u64,
    /// Limit of pinned blocks, which are those that a scan reads; 0 pins none.
    pub pinned_bytes: u64,
    pub ahead: AheadLimits,
    pub launcher: Launcher,
    pub vfs: VfsSettings,
    /// Passphrase that encrypts the store.
    pub passphrase: Option<&'static str>,
    /// Passphrase before the current one.
    pub old_passphrase: Option<&'static str>,
}

impl Default for LibrarySettings {
    fn default() -> Self {
        Self {
            spool_bytes: 1 << 30,
            pack_bytes: 1024 * 1024,
            read_deadline: Duration::from_secs(5),
            attach_deadline: Duration::from_secs(30),
            write_hints: WriteHints {
                parallel_packs: 2,
                largest_pack: 0,
                linger: Duration::from_millis(200),
                manifest_interval: Duration::from_millis(50),
            },
            distance: None,
            cache_bytes: 8 << 20,
            pinned_bytes: 0,
            ahead: AheadLimits {
                segments: 8,
                readers: 5,
            },
            launcher: Launcher::Direct,
            vfs: vfs_settings(),
            passphrase: None,
            old_passphrase: None,
        }
    }
}

pub struct Library {
    vfs: Vfs,
    faulty: Arc<FaultyRemote>,
    distant: Option<Arc<DistantRemote>>,
    /// Remote as the other parts use it.
    remote: Arc<dyn Remote>,
    index: Arc<Index>,
    spool: Arc<Spool>,
    cache: Arc<BlockCache>,
}

/// Opens the index. Waits while tasks of an earlier library still hold the state for a moment.
fn open_index(state: &Path) -> (Index, OpenReport) {
    for _ in 0..100 {
        match Index::open(state, Owner::of_process()) {
            Err(IndexError::Locked { .. }) => std::thread::sleep(Duration::from_millis(50)),
            opened => return opened.unwrap(),
        }
    }
    Index::open(state, Owner::of_process()).unwrap()
}

impl Library {
    /// Opens a library with everything in `root`, and continues from the data that an earlier one left.
    pub fn open(root: &Path, runtime: &Runtime) -> Self {
        Self::open_with(root, runtime, LibrarySettings::default())
    }

    pub fn open_with(root: &Path, runtime: &Runtime, with: LibrarySettings) -> Self {
        let _inside = runtime.enter();
        let (index, _report) = open_index(&root.join("state"));
        let index = Arc::new(index);
        let local = LocalRemote::open(&root.join("store")).unwrap();
        let local: Arc<dyn Remote> = Arc::new(local);
        let faulty = FaultyRemote::with_write_hints(local, with.write_hints);
        let distant = with
            .distance
            .map(|distance| DistantRemote::new(faulty.clone(), distance, with.write_hints));
        let remote: Arc<dyn Remote> = match &distant {
            Some(distant) => distant.clone(),
            None => faulty.clone(),
        };
        let passphrases = Passphrases::new(with.passphrase, with.old_passphrase);
        let locked = LockedRemote::keeping(remote, passphrases, KdfCost::NONE, index.key_store());
        let remote: Arc<dyn Remote> = Arc::<LockedRemote>::clone(&locked);
        runtime
            .block_on(attach(
                &index,
                &remote,
                LibraryClaim::Continue,
                Patience::Limited(with.attach_deadline),
            ))
            .unwrap();
        runtime
            .block_on(locked.settle(Deadline::after(with.attach_deadline)))
            .unwrap();
        let spool = Spool::open(SpoolConfig {
            directory: root.join("spool"),
            capacity: with.spool_bytes,
            reserve: 0,
        });
        let spool = Arc::new(spool.unwrap());
        let tree = Arc::new(Tree::new(Arc::clone(&index)));
        let pinned = (with.pinned_bytes > 0).then(|| {
            let limits = DiskLimits {
                directory: root.join("pinned"),
                budget: with.pinned_bytes,
                floor: 0,
                eviction: Eviction::Oldest,
            };
            DiskStore::open(limits).unwrap()
        });
        let cache = Arc::new(BlockCache::with_tiers(
            Arc::clone(&remote),
            with.cache_bytes,
            with.read_deadline,
            Tiers { disk: None, pinned },
        ));
        let reader = ExtentReader::new(
            Arc::clone(&spool),
            Arc::clone(&cache),
            with.read_deadline,
            with.ahead,
        );
        let unpublished = index.unpublished().unwrap();
        let parts = IngestParts {
            unpublished,
            index: Arc::clone(&index),
            tree: Arc::clone(&tree),
            spool: Arc::clone(&spool),
            reader: reader.clone(),
            remote: Arc::clone(&remote),
            publisher: Publisher::start(Arc::clone(&index), Arc::clone(&remote)),
            tool: Arc::new(Ffmpeg::new(with.launcher)),
        };
        let settings = IngestSettings {
            pack_bytes: with.pack_bytes,
            cuts: CutPolicy::default(),
            compat: Compat::Off,
        };
        let ingest = Ingest::start(parts, settings, Workers::Running).unwrap();
        let parts = VfsParts {
            index: Arc::clone(&index),
            tree,
            spool: Arc::clone(&spool),
            cache: Arc::clone(&cache),
            reader,
            ingest,
        };
        let vfs = Vfs::start(parts, with.vfs).unwrap();
        vfs.resume().unwrap();
        Self {
            vfs,
            faulty,
            distant,
            remote,
            index,
            spool,
            cache,
        }
    }

    pub fn cache(&self) -> &BlockCache {
        &self.cache
    }

    pub fn vfs(&self) -> Vfs {
        self.vfs.clone()
    }

    pub fn remote(&self) -> &FaultyRemote {
        &self.faulty
    }

    /// Returns the requests that a distant store has received.
    pub fn traffic(&self) -> Traffic {
        let distant = self.distant.as_ref();
        distant.map_or_else(Traffic::default, |distant| distant.traffic())
    }

    pub fn shared_remote(&self) -> Arc<dyn Remote> {
        Arc::clone(&self.remote)
    }

    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Closes the library as the daemon does on SIGTERM. The runtime has to be dropped afterwards: its tasks
    /// hold the rest.
    pub fn close(self, runtime: &Runtime) {
        runtime.block_on(self.vfs.commit_all()).unwrap();
        runtime.block_on(self.cache.close());
    }
}

fn vfs_settings() -> VfsSettings {
    VfsSettings {
        settle: Duration::from_millis(100),
        read_deadline: Duration::from_secs(10),
        write_deadline: Duration::from_secs(10),
        keep_deleted: Duration::from_secs(24 * 3600),
        max_file_size: 0,
        hls_listing: HlsListing::Visible,
        sidecars: SidecarSubtitles::Shown,
        base_url: "http://127.0.0.1:8080".to_owned(),
    }
}
