//! Builds the parts of the file system and connects them.

use std::sync::Arc;

use super::attributes::{AttributeParts, AttributeStore};
use super::availability::Availability;
use super::closing::HandleCloser;
use super::describe::{FileReports, ReportParts};
use super::drafts::{DraftParts, Drafts};
use super::interrupted::InterruptedFiles;
use super::inventory::Inventory;
use super::leftovers::{LeftoverFiles, LeftoverParts};
use super::listing::{Listing, ListingParts};
use super::names::{NameChanges, NameParts};
use super::namespace::{Namespace, NamespaceParts};
use super::open::OpenTable;
use super::opening::{Opener, OpenerParts};
use super::reads::HandleReader;
use super::room::{Room, RoomParts};
use super::sealing::Sealer;
use super::settings::SharedSettings;
use super::settle::SettleTimers;
use super::sidecars::SidecarFiles;
use super::sizes::FileSizes;
use super::slugs::Slugs;
use super::spool_records::SpoolRecords;
use super::takeover::{SidecarTakeover, TakeoverParts};
use super::unfinished::UnfinishedFiles;
use super::views::FilmViews;
use super::writes::HandleWriter;
use super::writing_notes::WritingNotes;
use crate::cache::BlockCache;
use crate::index::{Index, Rows};
use crate::ingest::Ingest;
use crate::model::{ErrorKind, FsError, FsResult};
use crate::read::ExtentReader;
use crate::spool::Spool;
use crate::tree::Tree;

/// The parts of the daemon that the file system works with.
#[derive(Debug)]
pub struct VfsParts {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub cache: Arc<BlockCache>,
    pub reader: ExtentReader,
    pub ingest: Ingest,
}

/// The parts of the file system.
#[derive(Debug)]
pub struct FileSystem {
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub cache: Arc<BlockCache>,
    pub ingest: Ingest,
    pub settings: SharedSettings,
    pub availability: Arc<Availability>,
    pub namespace: Arc<Namespace>,
    pub listing: Listing,
    pub names: Arc<NameChanges>,
    pub attributes: AttributeStore,
    pub open: Arc<OpenTable>,
    pub opener: Opener,
    pub reader: HandleReader,
    pub writer: Arc<HandleWriter>,
    pub sizes: Arc<FileSizes>,
    pub closer: Arc<HandleCloser>,
    pub takeover: SidecarTakeover,
    pub timers: Arc<SettleTimers>,
    pub sealer: Arc<Sealer>,
    pub leftovers: LeftoverFiles,
    pub views: Arc<FilmViews>,
    pub reports: Arc<FileReports>,
    pub inventory: Inventory,
}

impl FileSystem {
    /// Builds all parts.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn new(parts: VfsParts, settings: SharedSettings) -> FsResult<Self> {
        let slugs = Slugs::new(rows(&parts.index, "slugs")?, Arc::clone(&parts.tree));
        let base = Foundation::new(&parts, settings)?;
        let writer = Arc::new(HandleWriter::new(
            Arc::clone(&base.open),
            Arc::clone(&base.drafts),
            Arc::clone(&base.room),
        ));
        let sizes = base.sizes();
        let closer = base.closer();
        let sealer = base.sealer();
        let names = base.names();
        let reports = base.reports(slugs);
        let opener = base.opener(&sizes, &closer);
        let takeover = SidecarTakeover::new(TakeoverParts {
            tree: Arc::clone(&base.tree),
            reader: parts.reader.clone(),
            sidecars: Arc::clone(&base.sidecars),
            namespace: Arc::clone(&base.namespace),
            names: Arc::clone(&names),
            writer: Arc::clone(&writer),
            closer: Arc::clone(&closer),
        });
        Ok(Self {
            listing: base.listing(),
            attributes: base.attributes(&reports),
            leftovers: base.leftovers(&sealer),
            reader: HandleReader::new(Arc::clone(&base.open), base.drafts, parts.reader),
            inventory: Inventory::new(parts.index),
            tree: base.tree,
            spool: base.spool,
            cache: parts.cache,
            ingest: base.ingest,
            settings: base.settings,
            availability: base.availability,
            namespace: base.namespace,
            open: base.open,
            timers: base.timers,
            views: base.views,
            names,
            opener,
            writer,
            sizes,
            closer,
            takeover,
            sealer,
            reports,
        })
    }
}

/// The parts on which the others are built.
struct Foundation {
    tree: Arc<Tree>,
    spool: Arc<Spool>,
    ingest: Ingest,
    settings: SharedSettings,
    open: Arc<OpenTable>,
    timers: Arc<SettleTimers>,
    notes: Arc<WritingNotes>,
    records: Arc<SpoolRecords>,
    availability: Arc<Availability>,
    views: Arc<FilmViews>,
    sidecars: Arc<SidecarFiles>,
    namespace: Arc<Namespace>,
    drafts: Arc<Drafts>,
    room: Arc<Room>,
}

impl Foundation {
    fn new(parts: &VfsParts, settings: SharedSettings) -> FsResult<Self> {
        let (tree, spool, ingest) = (&parts.tree, &parts.spool, &parts.ingest);
        let open = Arc::new(OpenTable::default());
        let work = ingest.clone();
        let note = move |id| work.expect(id);
        let timers = Arc::new(SettleTimers::new(settings.get().settle, note));
        let marks = rows(&parts.index, "writing")?;
        let notes = Arc::new(WritingNotes::new(Arc::clone(&parts.spool), marks));
        let records = Arc::new(SpoolRecords::new(Arc::clone(spool), ingest.clone()));
        let availability = Arc::new(Availability::new(parts.index.store_status()));
        let views = Arc::new(FilmViews::new(Arc::clone(tree)));
        let sidecars = SidecarFiles::new(Arc::clone(tree), Arc::clone(&views), settings.clone());
        let sidecars = Arc::new(sidecars);
        Ok(Self {
            drafts: Arc::new(Drafts::new(DraftParts {
                tree: Arc::clone(tree),
                spool: Arc::clone(spool),
                ingest: ingest.clone(),
                open: Arc::clone(&open),
                notes: Arc::clone(&notes),
                records: Arc::clone(&records),
                settings: settings.clone(),
            })),
            room: Arc::new(Room::new(RoomParts {
                spool: Arc::clone(spool),
                ingest: ingest.clone(),
                open: Arc::clone(&open),
                timers: Arc::clone(&timers),
                settings: settings.clone(),
            })),
            namespace: Arc::new(Namespace::new(NamespaceParts {
                tree: Arc::clone(tree),
                open: Arc::clone(&open),
                views: Arc::clone(&views),
                sidecars: Arc::clone(&sidecars),
                availability: Arc::clone(&availability),
            })),
            tree: Arc::clone(tree),
            spool: Arc::clone(spool),
            ingest: ingest.clone(),
            settings,
            open,
            timers,
            notes,
            records,
            availability,
            views,
            sidecars,
        })
    }

    fn sizes(&self) -> Arc<FileSizes> {
        Arc::new(FileSizes::new(
            Arc::clone(&self.open),
            Arc::clone(&self.drafts),
            Arc::clone(&self.room),
            Arc::clone(&self.timers),
        ))
    }

    fn closer(&self) -> Arc<HandleCloser> {
        Arc::new(HandleCloser::new(
            Arc::clone(&self.open),
            Arc::clone(&self.drafts),
            Arc::clone(&self.timers),
            self.ingest.clone(),
        ))
    }

    fn sealer(&self) -> Arc<Sealer> {
        Arc::new(Sealer::new(
            Arc::clone(&self.tree),
            self.ingest.clone(),
            Arc::clone(&self.drafts),
            Arc::clone(&self.timers),
            self.unfinished(),
        ))
    }

    fn unfinished(&self) -> Arc<UnfinishedFiles> {
        let tree = Arc::clone(&self.tree);
        Arc::new(UnfinishedFiles::new(tree, self.ingest.clone()))
    }

    fn names(&self) -> Arc<NameChanges> {
        Arc::new(NameChanges::new(NameParts {
            tree: Arc::clone(&self.tree),
            ingest: self.ingest.clone(),
            open: Arc::clone(&self.open),
            drafts: Arc::clone(&self.drafts),
            timers: Arc::clone(&self.timers),
            sidecars: Arc::clone(&self.sidecars),
            namespace: Arc::clone(&self.namespace),
        }))
    }

    fn reports(&self, slugs: Slugs) -> Arc<FileReports> {
        Arc::new(FileReports::new(ReportParts {
            tree: Arc::clone(&self.tree),
            ingest: self.ingest.clone(),
            open: Arc::clone(&self.open),
            timers: Arc::clone(&self.timers),
            views: Arc::clone(&self.views),
            availability: Arc::clone(&self.availability),
            slugs,
            unfinished: self.unfinished(),
        }))
    }

    fn listing(&self) -> Listing {
        Listing::new(ListingParts {
            tree: Arc::clone(&self.tree),
            namespace: Arc::clone(&self.namespace),
            views: Arc::clone(&self.views),
            sidecars: Arc::clone(&self.sidecars),
            availability: Arc::clone(&self.availability),
            settings: self.settings.clone(),
        })
    }

    fn attributes(&self, reports: &Arc<FileReports>) -> AttributeStore {
        AttributeStore::new(AttributeParts {
            tree: Arc::clone(&self.tree),
            namespace: Arc::clone(&self.namespace),
            availability: Arc::clone(&self.availability),
            reports: Arc::clone(reports),
            settings: self.settings.clone(),
            drafts: Arc::clone(&self.drafts),
        })
    }

    fn opener(&self, sizes: &Arc<FileSizes>, closer: &Arc<HandleCloser>) -> Opener {
        Opener::new(OpenerParts {
            tree: Arc::clone(&self.tree),
            ingest: self.ingest.clone(),
            open: Arc::clone(&self.open),
            namespace: Arc::clone(&self.namespace),
            views: Arc::clone(&self.views),
            drafts: Arc::clone(&self.drafts),
            sizes: Arc::clone(sizes),
            closer: Arc::clone(closer),
        })
    }

    fn leftovers(&self, sealer: &Arc<Sealer>) -> LeftoverFiles {
        LeftoverFiles::new(LeftoverParts {
            tree: Arc::clone(&self.tree),
            spool: Arc::clone(&self.spool),
            ingest: self.ingest.clone(),
            interrupted: InterruptedFiles::new(
                Arc::clone(&self.tree),
                Arc::clone(&self.spool),
                Arc::clone(&self.notes),
                Arc::clone(&self.records),
            ),
            records: Arc::clone(&self.records),
            sealer: Arc::clone(sealer),
        })
    }
}

fn rows(index: &Index, table: &'static str) -> FsResult<Rows> {
    let rows = index.rows(table);
    rows.map_err(|error| FsError::caused_by(ErrorKind::Io, error))
}
