//! Those who are asked: real bundles, and some that answer nonsense.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amphora_error::Error;
use amphora_planner::action_space::{ActionSpace, HeadLogits};
use amphora_planner::bundle::PlannerBundle;
use amphora_planner::contracts::{ActionVersion, Budgets, Mode, PlannerAction, PlannerInput};
use amphora_planner::decide::{
    Baseline, BreakerSettings, Decision, Planner, Policy, Prediction, Reason, Settings,
};
use amphora_planner::decode::Temperatures;

use crate::scene::Scene;
use crate::spaces::bin;
use crate::support::{Random, model};

/// The bundles, as they lie on disk.
pub(crate) struct Files {
    features: PathBuf,
    #[cfg(feature = "engines")]
    tokens: PathBuf,
}

impl Files {
    pub(crate) fn write(scratch: &Path) -> Self {
        Self {
            features: Scene::new().seal(scratch),
            #[cfg(feature = "engines")]
            tokens: tokens::lay_out(&scratch.join("tokens")),
        }
    }
}

thread_local! {
    /// What the model of the thread's next decision answers.
    static ANSWER: RefCell<Option<amphora_error::Result<Prediction>>> = const { RefCell::new(None) };
}

/// The planners of one thread.
pub(crate) struct Crew {
    features: PlannerBundle,
    #[cfg(feature = "engines")]
    tokens: Planner,
    planners: Vec<Planner>,
}

impl Crew {
    pub(crate) fn new(files: &Files) -> Self {
        // No rest, so that failures do not hide what comes after them.
        let breaker = BreakerSettings {
            failures: u32::MAX,
            rest: Duration::ZERO,
        };
        let settings = |mode, threshold| Settings {
            mode,
            threshold,
            deadline: None,
            breaker,
            toolchains: None,
        };
        let told = || {
            Policy::new(
                model("test"),
                ActionSpace::default(),
                Temperatures::new([1.3, 1.1, 1.0, 1.0]).unwrap(),
                |_| ANSWER.with(|answer| answer.borrow_mut().take().unwrap()),
            )
            .quick()
        };
        let bundle = || Policy::bundle(PlannerBundle::open(&files.features).unwrap()).unwrap();
        let late = Settings {
            deadline: Some(Duration::ZERO),
            ..settings(Mode::Enforce, 0.0)
        };
        let missing = Error::not_found("bundle", "there is none");
        let codex = vec!["codex".to_owned()];
        let planner = |policy, settings| Planner::new(policy, settings).unwrap();
        Self {
            features: PlannerBundle::open(&files.features).unwrap(),
            #[cfg(feature = "engines")]
            tokens: {
                let bundle = PlannerBundle::open(&files.tokens).unwrap();
                assert!(!bundle.is_sparse());
                let policy = Policy::bundle(bundle).unwrap();
                planner(policy, settings(Mode::Enforce, 0.0))
            },
            planners: vec![
                planner(told(), settings(Mode::Enforce, 0.2)),
                planner(bundle(), settings(Mode::Enforce, 0.0)),
                planner(Policy::heuristic(), settings(Mode::Enforce, 0.9)),
                planner(told(), settings(Mode::Log, 0.2)),
                planner(told(), settings(Mode::Off, 0.2)),
                planner(Policy::missing(&missing), settings(Mode::Enforce, 0.2)),
                planner(told(), late),
                planner(bundle().for_toolchains(codex), settings(Mode::Enforce, 0.0)),
            ],
        }
    }

    /// How often a reason was given.
    pub(crate) fn count(&self, reason: Option<Reason>) -> u64 {
        let planners = self.planners.iter();
        #[cfg(feature = "engines")]
        let planners = planners.chain([&self.tokens]);
        planners.map(|planner| planner.count(reason)).sum()
    }

    /// Asks one of the planners, the first ones most often; and whether it reads tokens.
    pub(crate) fn decide(
        &self,
        random: &mut Random,
        input: &PlannerInput,
        baseline: &Baseline,
    ) -> (Decision, bool) {
        let logits = self.features.logits(input).unwrap();
        let widths = logits.each_ref().map(Vec::len);
        assert_eq!(widths, self.features.action_space().widths());
        assert!(logits.iter().flatten().all(|logit| logit.is_finite()));
        let answer = answer(random, logits);
        ANSWER.with(|place| *place.borrow_mut() = Some(answer));
        #[cfg(feature = "engines")]
        if random.below(16) == 0 {
            return (self.tokens.decide_hashed(input, None, baseline), true);
        }
        let place = match random.below(64) {
            0..20 => 1,
            20..26 => 2,
            place @ 26..31 => place - 23,
            _ => 0,
        };
        let decision = self.planners[place].decide_hashed(input, None, baseline);
        (decision, false)
    }
}

/// What a model makes of `logits`: more of them, nonsense, an action, or nothing.
fn answer(random: &mut Random, mut logits: HeadLogits) -> amphora_error::Result<Prediction> {
    match random.below(16) {
        0 => return Err(Error::internal("broken", "broken")),
        1..=4 => return Ok(Prediction::Action(Box::new(proposal(random)))),
        _ => {}
    }
    let scale = *random.pick(&[1.0, 20.0, 100.0, 1e30]);
    for logit in logits.iter_mut().flatten() {
        *logit *= scale;
    }
    match random.below(200) {
        0 => logits[random.below(4)][0] = f32::NAN,
        1 => logits[random.below(4)][0] = f32::NEG_INFINITY,
        2 => logits[random.below(4)].clear(),
        3 => logits[random.below(4)].push(0.0),
        _ => {}
    }
    Ok(Prediction::Logits(logits))
}

fn proposal(random: &mut Random) -> PlannerAction {
    PlannerAction {
        schema_version: ActionVersion,
        created_at: String::new(),
        swarm_id: (*random.pick(&["serial_handoff", "speculate_vote", "", "other"])).to_owned(),
        budgets: Budgets {
            max_candidates_bin: bin(random),
            max_minutes_bin: bin(random),
            max_iterations_bin: bin(random),
        },
        probs: None,
        confidence: match random.below(6) {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(7.0),
            _ => Some(random.unit()),
        },
        abstain_to_default: false,
        reason: None,
        model: None,
        input_hash: None,
    }
}

#[cfg(feature = "engines")]
mod tokens {
    use std::path::{Path, PathBuf};

    use amphora_checkpoint::architecture::Architecture;
    use amphora_checkpoint::{Checkpoint, Dtype, Limits, Safetensors, Tensor};
    use amphora_export::{ExportOptions, export};
    use amphora_planner::action_space::{ActionSpace, Head};
    use amphora_planner::encode::{FeatureSchema, TokenizerConfig, Vocabulary};
    use serde_json::{Value, json};

    use crate::support::Random;

    const LENGTH: usize = 96;

    /// Document 000's flat directory of a small transformer with random weights.
    pub(super) fn lay_out(folder: &Path) -> PathBuf {
        fs_err::create_dir_all(folder).unwrap();
        let space = ActionSpace::default();
        let vocabulary = Vocabulary::new(&space, ["kernel"]);
        let heads: Value = Head::ALL
            .into_iter()
            .map(|head| (head.onnx_name().to_owned(), json!(space.width(head))))
            .collect();
        let config = json!({
            "model_type": "transformer", "vocab_size": vocabulary.len(), "d_model": 8,
            "n_layers": 1, "n_heads": 2, "d_ff": 8, "max_len": LENGTH, "heads": heads,
        });
        let architecture = Architecture::from_config(&config).unwrap();
        let mut random = Random(5);
        let mut file = Safetensors::default();
        for parameter in architecture.parameters() {
            let count: u64 = parameter.shape.iter().product();
            let data: Vec<u8> = (0..count)
                .flat_map(|_| (random.unit() as f32 - 0.5).to_le_bytes())
                .collect();
            let tensor = Tensor::new(Dtype::F32, parameter.shape.clone(), data.into()).unwrap();
            file.tensors.insert(parameter.name.clone(), tensor);
        }
        let weights = file.to_bytes().unwrap();
        let checkpoint = Checkpoint::from_bytes(weights.into(), &Limits::default()).unwrap();
        let model = export(&architecture, &checkpoint, &ExportOptions::default()).unwrap();
        let tokenizer = TokenizerConfig {
            max_len: LENGTH,
            ..TokenizerConfig::new(&FeatureSchema::new(&space, 8))
        };
        let documents = [
            ("config.json", config),
            ("action_space.json", serde_json::to_value(&space).unwrap()),
            ("calibration.json", json!({"method": "none"})),
            ("metadata.json", json!({})),
            (
                "tokenizer_config.json",
                serde_json::to_value(tokenizer).unwrap(),
            ),
        ];
        for (name, document) in documents {
            fs_err::write(folder.join(name), document.to_string()).unwrap();
        }
        fs_err::write(folder.join("vocab.json"), vocabulary.to_json().unwrap()).unwrap();
        let bytes = amphora_onnx::write::to_bytes(&model);
        fs_err::write(folder.join("model.onnx"), bytes).unwrap();
        folder.to_owned()
    }
}
