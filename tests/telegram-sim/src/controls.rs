//! Controls and counters of a running server.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::faults::{Fault, FaultPlan};
use crate::lock::locked;
use crate::options::{Bot, Options, Pace, Shape, StatusForm};
use crate::shaping::Pair;

/// Shared by all connections.
pub(crate) struct Controls {
    shape: Mutex<Shape>,
    pace: Mutex<Pace>,
    clock_offset: Mutex<Duration>,
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
