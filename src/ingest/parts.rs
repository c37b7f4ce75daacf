//! Parts that several stages of ingest share.

use std::sync::Arc;

use super::attempts::Attempts;
use super::changes::ChangeSignal;
use super::jobs::Jobs;
use super::notes::Notes;
use super::outgoing::Outgoing;
use super::packer::Packer;
use super::publish::publisher::Publisher;
use super::settings::LiveSettings;
use super::spool_owners::SpoolOwners;
use super::steps::RunningSteps;
use super::views::queue::RemakeQueue;
use crate::index::Index;
use crate::media::tool::MediaTool;
use crate::read::ExtentReader;
use crate::spool::Spool;
use crate::tree::Tree;

/// Parts that several stages share. Each stage takes those that it needs.
#[derive(Debug)]
pub struct CommonParts {
    pub index: Arc<Index>,
    pub tree: Arc<Tree>,
    pub spool: Arc<Spool>,
    pub reader: ExtentReader,
    pub tool: Arc<dyn MediaTool>,
    pub outgoing: Arc<Outgoing>,
    pub packer: Arc<Packer>,
    pub publisher: Arc<Publisher>,
    pub settings: Arc<LiveSettings>,
    pub jobs: Arc<Jobs>,
    pub notes: Arc<Notes>,
    pub attempts: Arc<Attempts>,
    pub owners: Arc<SpoolOwners>,
    pub remakes: Arc<RemakeQueue>,
    pub steps: Arc<RunningSteps>,
    pub changes: Arc<ChangeSignal>,
}
