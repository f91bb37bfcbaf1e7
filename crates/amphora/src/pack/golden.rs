//! The golden vectors of every graph that is packed.

use std::sync::Arc;

use amphora_bundle::manifest::GoldenKind;
use amphora_error::{Error, Result};
use amphora_runtime::{Engine, EngineChoice, Session, SessionOptions};
use amphora_verify::golden::{Golden, ReferenceTime};

use super::PackRequest;
use super::subject::Subject;
use crate::Engines;

/// Golden vectors for each graph: from the file that was named, else from the independent reference, else
/// from an engine: ONNX Runtime where it is found. The time is the reference's for the entry graph.
pub(super) fn prepare(
    request: &PackRequest,
    subject: &Subject,
    engine: &Arc<dyn Engine>,
) -> Result<(Vec<Golden>, Option<ReferenceTime>)> {
    if let Some(path) = &request.golden {
        let [part] = subject.parts.as_slice() else {
            return Err(Error::usage(
                "golden-graphs",
                "vectors cannot be supplied for a model of several graphs",
            )
            .in_file(path)
            .hint("leave --golden out: the reference computes them"));
        };
        let golden = Golden::supplied(path, &part.contract)?;
        return Ok((vec![golden], None));
    }
    if let Some(graph) = &subject.graph {
        let (golden, time) =
            Golden::of_graphs(&graph.architecture, &graph.checkpoint, request.golden_cases)?;
        return Ok((golden, Some(time)));
    }
    let recorder = Engines {
        choice: EngineChoice::Auto,
        ..request.engines.clone()
    };
    let recorder = recorder.for_foreign_graph()?;
    let recorded = subject.parts.iter().map(|part| {
        // Recording may take long: an engine that does not take the model says so first.
        Session::new(
            &part.model,
            engine.clone(),
            &SessionOptions::default(),
            None,
        )?;
        Golden::of_engine(&part.model, recorder.clone(), request.golden_cases)
    });
    let recorded = recorded.collect::<Result<_>>();
    Ok((
        recorded.map_err(|error| error.in_file(&request.model))?,
        None,
    ))
}

/// What golden vectors are worth that were recorded, for want of ONNX Runtime, by the engine that also
/// replays them.
pub(super) fn own_witness(golden: &Golden, engine: &dyn Engine) -> Option<String> {
    let own = format!("{} {}", engine.name(), engine.version());
    let recorded = golden.kind() == GoldenKind::Reproducibility && golden.producer() == own;
    (recorded && engine.name() != EngineChoice::Ort.word()).then(|| {
        format!(
            "the golden vectors were recorded by {own}, which also replays them: that they agree shows that it \
             repeats itself, not that it is right; install ONNX Runtime, or supply vectors with --golden"
        )
    })
}
