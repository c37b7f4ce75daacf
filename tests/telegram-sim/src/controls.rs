//! Controls and counters of a running server.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::faults::{Fault, FaultPlan};
use crate::lock::locked;
use crate::options::{Bot, Options, Pace, Shape, StatusForm};
use crate::shaping::Pair;

/// Shared by all connections.
pub(crate) struct Controls {
    shape: Mutex<Shape>,
    pace: Mutex<Pace>,
    clock_offset: Mutex<Duration>,
    message_clock_lag: Mutex<Duration>,
    status_form: StatusForm,
    plan: Mutex<FaultPlan>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
    bot_lanes: Vec<Pair>,
}

impl Controls {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            shape: Mutex::new(options.shape),
            pace: Mutex::new(options.pace),
            clock_offset: Mutex::new(options.clock_offset),
            message_clock_lag: Mutex::default(),
            status_form: options.status_form,
            plan: Mutex::new(FaultPlan::new(options.faults, options.seed)),
            calls: Mutex::new(BTreeMap::new()),
            bot_lanes: (0..options.bots).map(|_| Pair::new()).collect(),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        *locked(&self.shape)
    }

    pub(crate) fn set_shape(&self, shape: Shape) {
        *locked(&self.shape) = shape;
    }

    pub(crate) fn pace(&self) -> Pace {
        *locked(&self.pace)
    }

    pub(crate) fn set_pace(&self, pace: Pace) {
        *locked(&self.pace) = pace;
    }

    pub(crate) fn status_form(&self) -> StatusForm {
        self.status_form
    }

    pub(crate) fn clock_offset(&self) -> Duration {
        *locked(&self.clock_offset)
    }

    pub(crate) fn set_clock_offset(&self, offset: Duration) {
        *locked(&self.clock_offset) = offset;
    }

    pub(crate) fn set_message_clock_lag(&self, lag: Duration) {
        *locked(&self.message_clock_lag) = lag;
    }

    /// Returns the time since 1970 that message ids carry.
    pub(crate) fn message_time(&self) -> Duration {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        real.saturating_sub(*locked(&self.message_clock_lag))
    }

    /// Works on the faults.
    pub(crate) fn plan<T>(&self, work: impl FnOnce(&mut FaultPlan) -> T) -> T {
        work(&mut locked(&self.plan))
    }

    pub(crate) fn fault_of_call(&self, method: &str, bot: Option<Bot>) -> Option<Fault> {
        self.plan(|plan| plan.of_call(method, bot))
    }

    pub(crate) fn fault_of_start(&self, method: &str, bot: Option<Bot>) -> Option<Fault> {
        self.plan(|plan| plan.of_start(method, bot))
    }

    pub(crate) fn count(&self, method: &'static str) {
        *locked(&self.calls).entry(method).or_default() += 1;
    }

    pub(crate) fn calls(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.calls).clone()
    }

    /// The buckets that the connections of a bot share.
    pub(crate) fn bot_lanes(&self, bot: Bot) -> Option<&Pair> {
        self.bot_lanes
            .get(usize::try_from(bot.0.checked_sub(1)?).ok()?)
    }
}
