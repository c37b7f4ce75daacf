//! A library over a directory, wired as the daemon wires one, with a remote that can be broken.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tgfs::cache::BlockCache;
use tgfs::index::{Index, Owner};
use tgfs::ingest::publisher::{Pace, Publisher};
use tgfs::ingest::{Ingest, IngestParts, IngestSettings, Workers};
use tgfs::media::plan::CutPolicy;
use tgfs::media::tool::Ffmpeg;
use tgfs::process::Launcher;
use tgfs::read::Reader;
use tgfs::remote::{LocalRemote, Remote};

use tgfs::remote::retry::Deadline;
use tgfs::remote::testing::FaultyRemote;
use tgfs::spool::{Spool, SpoolConfig};
use tgfs::tree::Tree;
use tgfs::upkeep::fill::{Claim, attach};
use tgfs::vfs::{HlsListing, Sidecars, Vfs, VfsParts, VfsSettings};
use tokio::runtime::Runtime;

/// Small, so that small files take several packs.
const PACK_BYTES: u64 = 1024 * 1024;
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
const READ_DEADLINE: Duration = Duration::from_secs(5);

pub struct Library {
    vfs: Vfs,
    remote: Arc<FaultyRemote>,
}

impl Library {
    /// Everything lies in `root`; what an earlier life left is taken up.
    pub fn open(root: &Path, runtime: &Runtime) -> Self {
        let _inside = runtime.enter();
        let (index, _report) = Index::open(&root.join("state"), Owner::of_process()).unwrap();
        let index = Arc::new(index);
        let faulty = FaultyRemote::new(Arc::new(LocalRemote::open(&root.join("store")).unwrap()));
        let remote: Arc<dyn Remote> = faulty.clone();
        runtime
            .block_on(attach(
                &index,
                &remote,
                Claim::Continue,
                Deadline::after(READ_DEADLINE),
            ))
            .unwrap();
        let spool = Spool::open(SpoolConfig {
            directory: root.join("spool"),
            capacity: 1 << 30,
            reserve: 0,
        });
        let spool = Arc::new(spool.unwrap());
        let tree = Arc::new(Tree::new(Arc::clone(&index)));
        let cache = Arc::new(BlockCache::new(
            Arc::clone(&remote),
            CACHE_BYTES,
            READ_DEADLINE,
        ));
        let reader = Reader::new(Arc::clone(&spool), Arc::clone(&cache), READ_DEADLINE);
        let unpublished = index.unpublished().unwrap();
        let parts = IngestParts {
            unpublished,
            index: Arc::clone(&index),
            tree: Arc::clone(&tree),
            spool: Arc::clone(&spool),
            reader: reader.clone(),
            remote: Arc::clone(&remote),
            publisher: Publisher::start(Arc::clone(&index), Arc::clone(&remote), Pace::Local),
            tool: Arc::new(Ffmpeg::new(Launcher::Direct)),
        };
        let settings = IngestSettings {
            pack_bytes: PACK_BYTES,
            cuts: CutPolicy::default(),
            linger: Duration::from_millis(200),
        };
        let ingest = Ingest::start(parts, settings, Workers::Running).unwrap();
        let parts = VfsParts {
            index,
            tree,
            spool,
            cache,
            reader,
            ingest,
        };
        let vfs = Vfs::start(parts, vfs_settings()).unwrap();
        vfs.resume().unwrap();
        Self {
            vfs,
            remote: faulty,
        }
    }

    pub fn vfs(&self) -> Vfs {
        self.vfs.clone()
    }

    pub fn remote(&self) -> &FaultyRemote {
        &self.remote
    }

    /// What the daemon does on SIGTERM. The runtime has to go after it: its tasks hold the rest.
    pub fn close(self, runtime: &Runtime) {
        runtime.block_on(self.vfs.commit_all()).unwrap();
    }
}

fn vfs_settings() -> VfsSettings {
    VfsSettings {
        settle: Duration::from_millis(100),
        write_deadline: Duration::from_secs(10),
        max_file_size: 0,
        hls_listing: HlsListing::Visible,
        sidecars: Sidecars::On,
        base_url: "http://127.0.0.1:8080".to_owned(),
    }
}
