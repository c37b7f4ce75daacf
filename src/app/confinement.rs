//! What confines the media tools on this machine: found out once, told at the start and in `status`.

use tokio::sync::OnceCell;

use crate::model::{ConfinementInfo, ConfinementLevel};
use crate::process::{Launcher, Spawner};

/// The confinement of media tools, once it is known.
#[derive(Debug, Default)]
pub struct ToolConfinement(OnceCell<ConfinementInfo>);

impl ToolConfinement {
    /// Returns what is enforced. The first call starts a process to find out.
    pub async fn get(&self) -> ConfinementInfo {
        let found = self.0.get_or_init(|| async {
            let report = || Spawner::new(Launcher::this_binary()).confinement();
            tokio::task::spawn_blocking(report)
                .await
                .unwrap_or_else(|error| ConfinementInfo::failed(error.to_string()))
        });
        found.await.clone()
    }

    /// Writes a line to the log: a warning if less than everything is enforced.
    pub async fn announce(&self) {
        let found = self.get().await;
        match found.level {
            ConfinementLevel::Full => tracing::info!("{}", found.explain()),
            ConfinementLevel::Partial | ConfinementLevel::Failed => {
                tracing::warn!("{}", found.explain());
            }
        }
    }
}
