//! What a training run is asked to do.

use amphora_error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::optimizer::{AdamWConfig, cosine};

/// A model to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// A multi-layer perceptron over the feature vector, one head per part of the action.
    Mlp,
    /// A Transformer encoder over the token sequence, one head per part of the action.
    Transformer,
    /// A looped encoder with one tied block over the token sequence, one head per part of the action.
    Urm,
    /// A perceptron with one softmax over every valid action; for diagnosis.
    Joint,
    /// An ensemble that predicts what an action comes to: pass, timeout, duration.
    Value,
}

impl ModelKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Mlp,
        Self::Transformer,
        Self::Urm,
        Self::Joint,
        Self::Value,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Transformer => "transformer",
            Self::Urm => "urm",
            Self::Joint => "joint",
            Self::Value => "value",
        }
    }

    /// Whether it reads tokens rather than features.
    pub fn reads_tokens(self) -> bool {
        matches!(self, Self::Transformer | Self::Urm)
    }
}

/// How the heads of a policy depend on each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoding {
    /// Independent heads, combined over the valid set.
    #[default]
    MultiHead,
    /// Each head is conditioned on the choices of the heads before it. Such a checkpoint cannot be
    /// exported; for comparison.
    Autoregressive,
}

/// Where the labels come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// What was executed.
    #[default]
    A,
    /// What won a bench.
    B,
}

/// Widths and depths of a model; each kind reads its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sizes {
    /// Width of the first hidden layer of a perceptron; each next layer is half as wide.
    pub d_hidden: u64,
    /// Layers of a perceptron or of a Transformer.
    pub n_layers: u64,
    /// Width of a token model.
    pub d_model: u64,
    /// Attention heads of a token model.
    pub n_heads: u64,
    /// Width inside the feed-forward part of a Transformer.
    pub d_ff: u64,
    /// Width inside the feed-forward part of a URM.
    pub d_inner: u64,
    /// How often a URM applies its block.
    pub loops: u64,
    /// The last loops of a URM that the gradient flows through.
    pub gradient_loops: u64,
    /// Time steps that a URM's convolution sees; 0 for none.
    pub conv_kernel: u64,
    /// The longest sequence of a token model.
    pub max_len: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            d_hidden: 512,
            n_layers: 3,
            d_model: 128,
            n_heads: 4,
            d_ff: 256,
            d_inner: 344,
            loops: 4,
            gradient_loops: 2,
            conv_kernel: 0,
            max_len: 512,
        }
    }
}

/// Everything that decides what training makes of its rows. Equal configurations and rows give equal
/// checkpoints on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The model.
    pub model: ModelKind,
    /// How its heads depend on each other.
    pub decoding: Decoding,
    /// Where its labels come from; the rows decide, this tells.
    pub stage: Stage,
    /// Its sizes.
    pub sizes: Sizes,
    /// Earlier runs that an input shows.
    pub similar_runs: usize,
    /// Most tokens for each of them.
    pub tokens_per_run: usize,
    /// The seed of every random number.
    pub seed: u64,
    /// Passes over the training rows.
    pub epochs: usize,
    /// Rows per step.
    pub batch_size: usize,
    /// The learning rate of the first epoch.
    pub learning_rate: f64,
    /// The learning rate that the cosine schedule ends at.
    pub final_learning_rate: f64,
    /// Epochs from the first to the final learning rate.
    pub schedule_epochs: usize,
    /// The optimizer.
    pub optimizer: AdamWConfig,
    /// The largest norm of the gradient; larger ones are scaled down.
    pub clip_norm: f64,
    /// Share of the target that is spread over the valid classes.
    pub label_smoothing: f64,
    /// What each head's cross-entropy counts in the loss: swarm, candidates, minutes, iterations. For
    /// policies with four heads.
    #[serde(default = "equal_weights")]
    pub head_weights: [f64; 4],
    /// Probability that an activation is dropped.
    pub dropout: f64,
    /// Whether rare classes weigh more, inversely to their counts in the training rows. It shifts the
    /// probabilities away from the observed frequencies, which calibration by temperature cannot undo.
    pub class_weights: bool,
    /// Epochs without a lower validation loss after which training stops.
    pub patience: usize,
    /// Members of a value model's ensemble.
    pub members: usize,
}

/// Every head counts the same: where document 001, section 7.4, starts.
fn equal_weights() -> [f64; 4] {
    [1.0; 4]
}

impl TrainConfig {
    /// The defaults for a model: document 001's training track for perceptrons (AdamW at 1e-4 down to
    /// 1e-6 over 100 epochs, batches of 64, smoothing 0.1, dropout 0.1, patience 10, norm 1), and the
    /// kernel's rate and batches for token models.
    pub fn new(model: ModelKind) -> Self {
        let tokens = model.reads_tokens();
        let value = model == ModelKind::Value;
        let epochs = if tokens { 30 } else { 100 };
        Self {
            model,
            decoding: Decoding::MultiHead,
            sizes: Sizes {
                d_hidden: if value { 128 } else { 512 },
                n_layers: if tokens || value { 2 } else { 3 },
                ..Sizes::default()
            },
            stage: Stage::A,
            similar_runs: 8,
            tokens_per_run: 64,
            seed: 0,
            epochs,
            batch_size: if tokens { 32 } else { 64 },
            learning_rate: match model {
                ModelKind::Value => 1e-3,
                ModelKind::Transformer | ModelKind::Urm => 3e-4,
                ModelKind::Mlp | ModelKind::Joint => 1e-4,
            },
            final_learning_rate: 1e-6,
            schedule_epochs: epochs,
            optimizer: AdamWConfig::default(),
            clip_norm: 1.0,
            label_smoothing: 0.1,
            head_weights: equal_weights(),
            dropout: 0.1,
            class_weights: false,
            patience: 10,
            members: 5,
        }
    }

    /// This configuration with the settings of a JSON object in place of its own, those of `sizes` and
    /// `optimizer` one by one. The model itself cannot be replaced.
    ///
    /// # Errors
    ///
    /// Usage (`training-config`) for an unknown setting or one of the wrong type.
    pub fn with(&self, settings: &Value) -> Result<Self> {
        let refused = |source: serde_json::Error| {
            Error::usage(
                "training-config",
                format!("a setting is not understood: {source}"),
            )
        };
        let mut all = serde_json::to_value(self).map_err(refused)?;
        let given = settings.as_object();
        if given.is_none_or(|given| given.contains_key("model")) {
            return Err(Error::usage(
                "training-config",
                "expected an object of settings without the model",
            ));
        }
        for (key, value) in given.into_iter().flatten() {
            match (all.get_mut(key).and_then(Value::as_object_mut), value) {
                (Some(nested), Value::Object(given)) => nested.extend(given.clone()),
                _ => all[key] = value.clone(),
            }
        }
        Self::deserialize(&all).map_err(refused)
    }

    /// The learning rate of an epoch, counted from 0: a cosine from the first to the final rate.
    pub fn learning_rate_of(&self, epoch: usize) -> f64 {
        cosine(
            epoch,
            self.schedule_epochs,
            self.learning_rate,
            self.final_learning_rate,
        )
    }

    /// Refuses values that cannot be trained with, all at once.
    ///
    /// # Errors
    ///
    /// Usage (`training-config`).
    pub fn check(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let share = |x: f64| (0.0..1.0).contains(&x);
        let optimizer = &self.optimizer;
        let rules = [
            (self.epochs > 0, "epochs: expected at least 1"),
            (self.batch_size > 0, "batch_size: expected at least 1"),
            (
                positive(self.learning_rate),
                "learning_rate: expected a positive number",
            ),
            (
                (0.0..=self.learning_rate).contains(&self.final_learning_rate),
                "final_learning_rate: expected 0 to learning_rate",
            ),
            (
                self.schedule_epochs > 0,
                "schedule_epochs: expected at least 1",
            ),
            (
                positive(self.clip_norm),
                "clip_norm: expected a positive number",
            ),
            (
                share(self.label_smoothing),
                "label_smoothing: expected 0 to below 1",
            ),
            (
                self.head_weights.iter().all(|x| x.is_finite() && *x >= 0.0)
                    && self.head_weights.iter().any(|x| *x > 0.0),
                "head_weights: expected numbers from 0, not all of them 0",
            ),
            (
                self.head_weights == equal_weights()
                    || !matches!(self.model, ModelKind::Joint | ModelKind::Value),
                "head_weights: only policies with four heads can weigh them",
            ),
            (share(self.dropout), "dropout: expected 0 to below 1"),
            (self.patience > 0, "patience: expected at least 1"),
            (
                (1..=64).contains(&self.members),
                "members: expected 1 to 64",
            ),
            (
                share(optimizer.beta1) && share(optimizer.beta2),
                "optimizer: expected betas from 0 to below 1",
            ),
            (
                positive(optimizer.epsilon),
                "optimizer: expected a positive epsilon",
            ),
            (
                share(optimizer.weight_decay),
                "optimizer: expected a weight decay from 0 to below 1",
            ),
            (
                self.similar_runs <= 256,
                "similar_runs: expected at most 256",
            ),
            (
                self.model != ModelKind::Urm || self.sizes.gradient_loops > 0,
                "sizes: expected gradient_loops of at least 1, or no block learns",
            ),
            (
                self.sizes.max_len <= 65_536,
                "sizes: expected a max_len of at most 65536",
            ),
            (
                self.decoding == Decoding::MultiHead
                    || !matches!(self.model, ModelKind::Joint | ModelKind::Value),
                "decoding: only policies with several heads can be autoregressive",
            ),
        ];
        let faults: Vec<String> = rules
            .iter()
            .filter(|(kept, _)| !kept)
            .map(|(_, fault)| (*fault).to_owned())
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::usage(
            "training-config",
            "the training configuration makes no sense",
        )
        .faults(faults))
    }
}
