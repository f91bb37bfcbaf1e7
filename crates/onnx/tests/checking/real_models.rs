//! No model that others made and use is refused.

use amphora_onnx::{Limits, Model};

#[test]
fn real_models_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let mut models = crate::support::models(scratch.path());
    models.extend(crate::support::models_of_onnx());
    amphora_testing::each(&models, |path| {
        let model = match Model::open(path, &Limits::default()) {
            // Its weights are elsewhere.
            Err(error) if error.rule() == "file-not-found" => return Ok(()),
            model => model?,
        };
        model.check()
    });
}

/// Writes the models of the tests that `onnx` ships for each of its operators into a folder.
const WRITE_OPERATOR_TESTS: &str = "
import pathlib, sys, warnings
warnings.filterwarnings('ignore')
from onnx.backend.test.case.node import collect_testcases

for case in collect_testcases(None):
    if case.model is not None:
        pathlib.Path(sys.argv[1], case.name + '.onnx').write_bytes(case.model.SerializeToString())
";

/// Their outputs have declared shapes: any contradiction with the inferred ones would show.
#[test]
fn models_of_every_operator_pass() {
    let Some(peer) = amphora_testing::peer("onnx", None) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    peer.run(WRITE_OPERATOR_TESTS, &[folder.path().to_str().unwrap()]);
    let models = crate::support::models_beneath(Some(folder.path().to_owned()));
    assert!(models.len() > 1000, "only {} models", models.len());
    amphora_testing::each(&models, |path| {
        Model::open(path, &Limits::default())?.check()
    });
}
