//! The swarm planner: from recorded runs to a decision.

#[cfg(feature = "training")]
mod ablate;
mod bundle;
#[cfg(feature = "training")]
mod dataset;
mod decide;
#[cfg(feature = "training")]
mod evaluate;
#[cfg(feature = "training")]
mod export;
#[cfg(feature = "training")]
mod import;
#[cfg(feature = "training")]
mod simulate;
#[cfg(feature = "training")]
mod train;

#[cfg(feature = "training")]
pub use ablate::{AblateRequest, Ablation, AblationRow, ablate};
pub use amphora_planner::action_space::{ActionSpace, Head};
pub use amphora_planner::contracts::{
    BenchSummary, Mode, Objective, PlannerAction, PlannerInput, PolicyTrace,
};
pub use amphora_planner::decide::{Decision, Reason};
pub use amphora_planner::heuristic::kernel::Kernel;
#[cfg(feature = "training")]
pub use amphora_training::dataset::NOTABLE_SHIFT;
#[cfg(feature = "training")]
pub use amphora_training::import::Imported;
#[cfg(feature = "training")]
pub use amphora_training::simulator::Simulation;
#[cfg(feature = "training")]
pub use amphora_training::stats::Stats;
#[cfg(feature = "training")]
pub use amphora_training::train::{ModelKind, Progress, Stage, TrainConfig, TrainingReport};
#[cfg(feature = "training")]
pub use dataset::{
    DEFAULT_SIMILAR_RUNS, DatasetBuilt, DatasetRequest, LeftOut, ReplayBenchRequest, build_dataset,
    dataset_stats, replay_bench,
};
pub use decide::{DecideRequest, Decided, DecisionRecord, InputSource, decide, read_kernel};
#[cfg(feature = "training")]
pub use evaluate::{
    CrossValidateRequest, Decode, EvaluateRequest, Evaluation, PolicyReport, Settings, evaluate,
    gate,
};
#[cfg(feature = "training")]
pub use export::{ExportRequest, Exported, export};
#[cfg(feature = "training")]
pub use import::{ImportTrialsRequest, import_trials};
#[cfg(feature = "training")]
pub use simulate::{SimulatedRuns, simulate_runs};
#[cfg(feature = "training")]
pub use train::{TrainRequest, train};
