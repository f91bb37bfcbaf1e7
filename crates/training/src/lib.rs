//! The swarm planner learns: from recorded runs to a calibrated, verified bundle.

#![forbid(unsafe_code)]
