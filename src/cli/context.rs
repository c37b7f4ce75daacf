//! The environment of a running command.

use super::output::Format;
use crate::config::{ConfigHandle, ConfigInputs};
use crate::telemetry::Telemetry;

/// Settings, and how to print results.
pub(super) struct Context {
    /// Form of results.
    pub(super) format: Format,
    /// The configuration in force.
    pub(super) config: ConfigHandle,
    /// The layers that it was read from, for `tgfs reload`.
    pub(super) inputs: ConfigInputs,
    /// Loggers of this process.
    pub(super) telemetry: Telemetry,
}
