//! An exported planner: model, action space, calibration and encoder in one bundle.
//!
//! * [`PlannerBundle::open`] takes a sealed bundle or document 000's flat directory.
//! * [`PlannerBundle::logits`] answers one input; [`PlannerBundle::temperatures`] calibrate the answer.
//! * [`PlannerBundle::digests`] and [`PlannerBundle::toolchains`] say what it was made for.

mod contract;
mod documents;
#[cfg(feature = "engines")]
mod engine;
mod files;
mod golden;

use std::path::Path;
#[cfg(feature = "engines")]
use std::sync::Arc;

#[cfg(feature = "engines")]
use amphora_bundle::Bundle;
use amphora_error::{Error, Result};
use amphora_files::json;
use amphora_onnx::Model;
#[cfg(feature = "engines")]
use amphora_runtime::{Engine, EngineChoice, OrtLocation};

use crate::action_space::{ActionSpace, Head, HeadLogits};
use crate::contracts::PlannerInput;
use crate::encode::{FeatureSchema, Tokenizer, TokenizerConfig, Vocabulary};
use crate::forward::SparseMlp;

pub use documents::{Digests, ModelKind, toolchains_digest};

use files::Files;

/// Most earlier runs that a feature vector may have room for.
const MAX_HISTORY_SLOTS: usize = 1024;

/// A planner's model with everything that a decision needs of it.
///
/// Outputs are bound by their names, never by their order; `action_space.json` is the truth about the
/// classes, and a bundle whose other files contradict it is refused.
#[derive(Debug)]
pub struct PlannerBundle {
    name: String,
    version: Option<String>,
    git_sha: Option<String>,
    action_space: ActionSpace,
    temperatures: [f64; 4],
    digests: Digests,
    toolchains: Option<Vec<String>>,
    threshold: Option<f64>,
    encoder: Encoder,
    runner: Runner,
}

#[derive(Debug)]
enum Encoder {
    Features(FeatureSchema),
    Tokens(Tokenizer),
}

#[derive(Debug)]
enum Runner {
    /// The forward pass, and for each head of the planner the position of its output.
    Sparse(Box<SparseMlp>, [usize; 4]),
    #[cfg(feature = "engines")]
    Engine(engine::Runner),
}

impl PlannerBundle {
    /// Opens a bundle: every file that a decision depends on is compared with the manifest, if there
    /// is one, and with the other files.
    ///
    /// The planner MLP runs sparse once it has reproduced the golden vectors of its bundle; every
    /// other model runs on an engine, where this build has one.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::NotFound`] when a file is missing, [`amphora_error::ErrorKind::Untrusted`] when one is not what
    /// was sealed, [`amphora_error::ErrorKind::Incompatible`] when they contradict each other,
    /// [`amphora_error::ErrorKind::Unsupported`] for a model that this build cannot run, and those of reading.
    pub fn open(path: &Path) -> Result<Self> {
        #[cfg(feature = "engines")]
        let engine = amphora_runtime::engine(EngineChoice::Rten, &OrtLocation::default())?;
        Self::read(
            path,
            Files::open(path),
            #[cfg(feature = "engines")]
            engine,
        )
        .map_err(|error| error.in_file(path))
    }

    /// [`Self::open`], with the engine for models that do not run sparse.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    #[cfg(feature = "engines")]
    pub fn open_on(path: &Path, engine: Arc<dyn Engine>) -> Result<Self> {
        Self::read(path, Files::open(path), engine).map_err(|error| error.in_file(path))
    }

    /// [`Self::open_on`], of a bundle that is open: who chose an engine by its id gets this bundle,
    /// whatever lies in its place by now.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    #[cfg(feature = "engines")]
    pub fn open_sealed(bundle: Bundle, engine: Arc<dyn Engine>) -> Result<Self> {
        let path = bundle.path().to_owned();
        let files = Ok(Files::Sealed(Box::new(bundle)));
        Self::read(&path, files, engine).map_err(|error| error.in_file(path))
    }

    fn read(
        path: &Path,
        files: Result<Files>,
        #[cfg(feature = "engines")] engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let files = files?;
        let within = |name: &'static str| move |error: Error| error.in_file(path.join(name));
        let action_space = ActionSpace::from_json(&files.document("action_space.json")?)
            .map_err(within("action_space.json"))?;
        let kind = documents::config(&files.document("config.json")?, &action_space)
            .map_err(within("config.json"))?;
        let temperatures = documents::temperatures(&files.document("calibration.json")?)
            .map_err(within("calibration.json"))?;
        let metadata: documents::Metadata =
            json::parse_into(&files.document("metadata.json")?).map_err(within("metadata.json"))?;
        let config = TokenizerConfig::from_json(&files.document("tokenizer_config.json")?)
            .map_err(within("tokenizer_config.json"))?;
        if config.n_history_slots > MAX_HISTORY_SLOTS {
            return Err(
                Error::limit("history-slots", "the model reads too many earlier runs")
                    .expected(format!("at most {MAX_HISTORY_SLOTS}"))
                    .found(config.n_history_slots.to_string())
                    .in_file(path.join("tokenizer_config.json")),
            );
        }
        let features = FeatureSchema::new(&action_space, config.n_history_slots);
        let schema = features.digest()?;
        let width = config.d_in;
        let pinned = metadata.digests.feature_schema.as_deref();
        if let Some(pinned) = pinned.filter(|pinned| *pinned != schema) {
            return Err(Error::incompatible(
                "feature-schema",
                "the model was trained on features of another layout",
            )
            .expected(pinned)
            .found(schema)
            .hint("export the model again with this version"));
        }
        if features.width() != width {
            return Err(Error::incompatible(
                "planner-width",
                "the encoder makes another number of features than the model was trained on",
            )
            .expected(format!("{width} as in tokenizer_config.json"))
            .found(features.width().to_string()));
        }
        if let Some(pinned) = &metadata.digests.action_space
            && *pinned != action_space.digest()?
        {
            return Err(Error::incompatible(
                "planner-action-space",
                "action_space.json is not the space that metadata.json names",
            )
            .expected(pinned.clone())
            .found(action_space.digest()?));
        }
        if let (Some(pinned), Some(listed)) = (&metadata.digests.toolchains, &metadata.toolchains)
            && *pinned != toolchains_digest(listed)
        {
            return Err(Error::incompatible(
                "planner-toolchains",
                "metadata.json lists other toolchains than it pins",
            )
            .expected(pinned.clone())
            .found(toolchains_digest(listed)));
        }
        let encoder = match kind {
            ModelKind::Features => Encoder::Features(features),
            ModelKind::Tokens => {
                let vocabulary = Vocabulary::from_json(&files.document("vocab.json")?)
                    .map_err(within("vocab.json"))?;
                Encoder::Tokens(Tokenizer::new(config, vocabulary)?)
            }
        };
        let model = files.model()?;
        contract::check(&model.contract()?, kind, width, &action_space)?;
        let runner = Runner::new(
            &model,
            kind,
            &files,
            #[cfg(feature = "engines")]
            engine,
        )?;
        Ok(Self {
            name: files.name(),
            version: metadata.model_version,
            git_sha: metadata.provenance.git_sha,
            action_space,
            temperatures,
            digests: metadata.digests,
            toolchains: metadata.toolchains,
            threshold: metadata.confidence_threshold,
            encoder,
            runner,
        })
    }

    /// What a decision calls the model: the first 12 digits of the bundle's id, or the name of a flat
    /// directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the model.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The commit that it was trained from.
    pub fn git_sha(&self) -> Option<&str> {
        self.git_sha.as_deref()
    }

    /// The classes of its heads and their rules.
    pub fn action_space(&self) -> &ActionSpace {
        &self.action_space
    }

    /// By how much the logits of each head are divided, in the order of [`Head::ALL`].
    pub fn temperatures(&self) -> [f64; 4] {
        self.temperatures
    }

    /// What the bundle pins beside its files.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// The toolchains that the model was trained with, in their order, if it depends on them.
    pub fn toolchains(&self) -> Option<&[String]> {
        self.toolchains.as_deref()
    }

    /// The confidence below which the baseline is to be executed, as chosen when the model was
    /// evaluated, if it was.
    pub fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    /// How many earlier runs an input should have.
    pub fn similar_runs(&self) -> usize {
        match &self.encoder {
            Encoder::Features(schema) => schema.history_slots(),
            Encoder::Tokens(tokenizer) => tokenizer.config().max_similar_runs,
        }
    }

    /// Whether it answers in microseconds, without an engine.
    pub fn is_sparse(&self) -> bool {
        matches!(self.runner, Runner::Sparse(..))
    }

    /// What computes the logits: `sparse`, or an engine with its version.
    pub fn runs_on(&self) -> String {
        match &self.runner {
            Runner::Sparse(..) => "sparse".to_owned(),
            #[cfg(feature = "engines")]
            Runner::Engine(runner) => runner.name(),
        }
    }

    /// The raw logits of every head for `input`; not calibrated.
    ///
    /// # Errors
    ///
    /// Those of an engine; the sparse forward pass does not fail.
    pub fn logits(&self, input: &PlannerInput) -> Result<HeadLogits> {
        match (&self.encoder, &self.runner) {
            (Encoder::Features(schema), Runner::Sparse(mlp, heads)) => {
                let row = schema.encode(input);
                let mut outputs = mlp.forward(&row.indices, &row.values)?;
                Ok(heads.map(|output| std::mem::take(&mut outputs[output])))
            }
            #[cfg(feature = "engines")]
            (Encoder::Features(schema), Runner::Engine(runner)) => {
                runner.features(&schema.encode(input), schema.width())
            }
            #[cfg(feature = "engines")]
            (Encoder::Tokens(tokenizer), Runner::Engine(runner)) => {
                runner.tokens(tokenizer.ids(input))
            }
            (Encoder::Tokens(_), Runner::Sparse(..)) => Err(Error::internal(
                "planner-runner",
                "a token model cannot run on features",
            )),
        }
    }
}

impl Runner {
    fn new(
        model: &Model,
        kind: ModelKind,
        files: &Files,
        #[cfg(feature = "engines")] engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let sparse = match kind {
            ModelKind::Features => sparse(model),
            ModelKind::Tokens => None,
        };
        #[cfg(feature = "engines")]
        let by_engine = || engine::Runner::new(model, engine.clone());
        if let Some((mlp, heads)) = sparse {
            let agrees = match files.golden()? {
                Some(vectors) => golden::agrees(&mlp, &vectors)?,
                #[cfg(feature = "engines")]
                None => {
                    let runner = by_engine()?;
                    if !runner.agrees(&mlp)? {
                        return Ok(Self::Engine(runner));
                    }
                    true
                }
                // Nothing to compare with: the structure of the graph is all that is known.
                #[cfg(not(feature = "engines"))]
                None => true,
            };
            if agrees {
                return Ok(Self::Sparse(Box::new(mlp), heads));
            }
        }
        #[cfg(feature = "engines")]
        return Ok(Self::Engine(by_engine()?));
        #[cfg(not(feature = "engines"))]
        Err(Error::unsupported(
            "planner-engine",
            "this build has no engine, and the model is no planner MLP that it can run itself",
        )
        .hint("build with the feature 'engines'"))
    }
}

/// The sparse forward pass with the position of each head's output, if it has all of them.
fn sparse(model: &Model) -> Option<(SparseMlp, [usize; 4])> {
    let mlp = SparseMlp::recognize(model)?;
    let mut places = [0; 4];
    for head in Head::ALL {
        let named = |output: &crate::forward::Head| output.name == head.onnx_name();
        places[head.position()] = mlp.heads().iter().position(named)?;
    }
    Some((mlp, places))
}
