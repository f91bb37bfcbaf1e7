//! The fixtures, and exports of them.

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::{ExportOptions, export};
use amphora_onnx::proto::ModelProto;
use amphora_testing::fixture;
use prost::Message as _;

/// A checkpoint whose PyTorch outputs are recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) fixture: &'static str,
    pub(crate) checkpoint: &'static str,
}

const fn case(fixture: &'static str, checkpoint: &'static str) -> Case {
    Case {
        fixture,
        checkpoint,
    }
}

/// Every stored form of every fixture.
pub(crate) const CASES: [Case; 9] = [
    case("planner_mlp", "model.safetensors"),
    case("planner_mlp", "model.pt"),
    case("planner_transformer", "model.safetensors"),
    case("planner_urm", "model.safetensors"),
    case("planner_urm_conv", "model.safetensors"),
    case("conv2d_fsq", "model.safetensors"),
    case("conv2d_fsq", "model.pt"),
    case("conv2d_fsq", "model_legacy_format.pt"),
    case("conv2d_fsq", "checkpoint.pt"),
];

impl Case {
    /// Architecture and checkpoint, or `None` where the fixtures are absent.
    pub(crate) fn open(&self) -> Option<(Architecture, Checkpoint)> {
        let folder = fixture(self.fixture)?;
        let config = amphora_files::json::read(folder.join("config.json")).unwrap();
        let architecture = Architecture::from_config(&config).unwrap();
        let path = folder.join(self.checkpoint);
        let checkpoint = Checkpoint::open(path, &Limits::default()).unwrap();
        Some((architecture, checkpoint))
    }

    /// The exported model, or `None` where the fixtures are absent.
    pub(crate) fn export(&self, options: &ExportOptions) -> Option<ModelProto> {
        let (architecture, checkpoint) = self.open()?;
        Some(export(&architecture, &checkpoint, options).unwrap())
    }

    /// [`Self::export`] as bytes.
    pub(crate) fn export_bytes(&self, options: &ExportOptions) -> Option<Vec<u8>> {
        self.export(options).map(|model| model.encode_to_vec())
    }

    /// The cases of safetensors files, one for each fixture.
    pub(crate) fn safetensors() -> impl Iterator<Item = Self> {
        CASES
            .into_iter()
            .filter(|case| case.checkpoint.ends_with(".safetensors"))
    }
}

pub(crate) fn opset(opset: u64) -> ExportOptions {
    ExportOptions {
        opset: Some(opset),
        link: None,
    }
}
