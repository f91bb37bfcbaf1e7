//! `mlp`: Linear, LayerNorm and ReLU layers (dropout does nothing in evaluation), then the heads.

use amphora_checkpoint::architecture::MlpConfig;
use amphora_error::Result;
use amphora_onnx::build::Value;

use crate::emitter::Emitter;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &MlpConfig,
    input: &Value,
) -> Result<Vec<Value>> {
    let mut x = input.clone();
    for layer in config.layers() {
        x = emitter.linear(&x, &layer.linear)?;
        x = emitter.layer_norm(&x, &layer.norm, config.layer_norm_eps)?;
        x = emitter.graph.unary("Relu", &x);
    }
    emitter.heads(&x, &config.heads)
}
