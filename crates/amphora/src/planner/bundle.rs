//! Planner bundles of strangers: whatever needs an engine is run as other models are.

use std::path::Path;

use amphora_bundle::Store;
use amphora_bundle::layout::MANIFEST_DIGEST;
use amphora_error::Result;
use amphora_planner::bundle::PlannerBundle;

use crate::Engines;

/// The bundle that `reference` names: a flat directory, or a bundle as [`Store::resolve`] takes it.
///
/// The sparse forward pass is code of this program and runs in this process; every other model runs
/// where [`crate::Walls`] say.
pub(super) fn open(store: &Store, engines: &Engines, reference: &str) -> Result<PlannerBundle> {
    let path = Path::new(reference);
    if path.is_dir() && !path.join(MANIFEST_DIGEST).exists() {
        return PlannerBundle::open_on(path, engines.for_foreign_graph()?);
    }
    let bundle = store.resolve(reference)?;
    let engine = engines.for_bundle(&bundle.id())?;
    PlannerBundle::open_sealed(bundle, engine)
}
