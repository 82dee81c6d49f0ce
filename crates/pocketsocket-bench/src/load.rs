//! The loads, one a file. Each takes its options, runs, and gives its report.

mod broadcast;
mod churn;
mod echo;
mod flood;
mod idle;
mod stall;
mod startup;

use std::time::Duration;

pub(crate) use self::{
    broadcast::broadcast, churn::churn, echo::echo, flood::flood, idle::idle, stall::stall,
    startup::startup,
};

/// How long after the last message was sent its answer may come.
const DRAIN: Duration = Duration::from_secs(5);
