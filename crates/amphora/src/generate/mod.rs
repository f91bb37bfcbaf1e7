//! Text out of a language model.

mod prompt;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amphora_bundle::manifest::{Generation, Manifest, Preprocessing, Sampling};
use amphora_bundle::{Bundle, check_and_keep};
use amphora_error::{Error, Result};
use amphora_files::RelativePath;
use amphora_runtime::generation::{
    Constraint, Generated, GenerationOptions, Generator, Grammar, GrammarCompiler, Prompt,
};
use amphora_runtime::text::{Padding, TextConfig, TextProcessor, TokenizerFiles};
use amphora_runtime::{Engine, Session, SessionOptions, isolate};
use serde::Serialize;
use serde_json::Value;

pub use prompt::{Chat, PromptText};

use self::prompt::{Asked, Reader};
use crate::inspect::decoded;
use crate::run::{packed_without_tokenizer, verified};
use crate::{BundleRan, Engines, Subject};

/// The name by which a tokenizer's reader knows a chat template.
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// What to write, with what.
#[derive(Debug)]
pub struct GenerateRequest {
    /// A bundle whose manifest has `spec.generation`.
    pub subject: Subject,
    /// What the texts follow, one for each text.
    pub prompts: Vec<PromptText>,
    /// Set when prompts are what a user says; otherwise a text goes on where its prompt ends.
    pub chat: Option<Chat>,
    /// The day, `2026-11-21`, or the moment, `2026-11-21T18:30:00`, that a chat template is told when it
    /// asks for the date. Nobody asks a clock.
    pub date: Option<String>,
    /// What the texts must be like.
    pub pattern: Option<Pattern>,
    /// Most tokens for each text.
    pub max_new_tokens: usize,
    /// How tokens are chosen, where it differs from what the manifest says.
    pub sampling: Sampling,
    /// Starts the random numbers; the text of prompt `i` is drawn by `seed + i`.
    pub seed: u64,
    /// Strings that end a text.
    pub stop: Vec<String>,
    /// Show special tokens in the texts, but for the stop token.
    pub special_tokens: bool,
    /// When to stop, whatever is written by then.
    pub time_limit: Option<Duration>,
    /// The engine.
    pub engines: Engines,
    /// Replay the golden vectors first.
    pub verify: bool,
}

/// What a text must be like.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// JSON that fits this JSON Schema.
    JsonSchema(Value),
    /// A text that this regular expression matches from beginning to end.
    Regex(String),
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    /// The bundle.
    pub bundle: BundleRan,
    /// The engine that ran it, with its version.
    pub engine: String,
    /// The texts, in the order of the prompts.
    pub texts: Vec<Generated>,
    /// Seconds from the first prompt read to the last token.
    pub seconds: f64,
    /// New tokens of all texts in one second.
    pub tokens_per_second: f64,
}

/// Continues every prompt. `on_text` is told which text goes on and how, as it comes: whole characters,
/// never a part of a stop string.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Usage`] when the subject is no language model, a prompt is empty or too
/// long, or a pattern cannot be followed; [`amphora_error::ErrorKind::NotFound`] when the bundle has no
/// tokenizer, or a conversation no chat template; [`amphora_error::ErrorKind::Untrusted`] when it is not what was sealed; those of
/// `on_text`.
pub fn generate(
    request: GenerateRequest,
    on_text: &mut dyn FnMut(usize, &str) -> Result<()>,
) -> Result<Written> {
    let bundle = language_model(request.subject)?;
    let (ran, place) = (BundleRan::of(&bundle), bundle.path().to_owned());
    let engine = request.engines.for_bundle(&bundle.id())?;
    let mut parts = Parts::read(bundle, &request.engines, &engine, request.verify)?;
    let chat = request.chat.as_ref();
    let reader = Reader::new(&parts.files, &parts.text, &request.prompts, chat)
        .map_err(|error| packed_without_tokenizer(error).in_file(&place))?;
    let vocabulary = parts.generator.vocabulary();
    let text = reader.text()?;
    let grammar = grammar(text, vocabulary, request.pattern.as_ref())?;
    let asked = Asked {
        chat,
        date: request.date.as_deref(),
        engines: &request.engines,
    };
    let mut prompts = Vec::with_capacity(request.prompts.len());
    for prompt in &request.prompts {
        let constraint = grammar.clone();
        let tokens = reader.tokens(prompt, &asked)?;
        prompts.push(Prompt {
            constraint: constraint.map(|grammar| Box::new(grammar) as Box<dyn Constraint>),
            text: Some(text.stream(!request.special_tokens).after(&tokens)),
            tokens,
        });
    }
    let start = Instant::now();
    let options = GenerationOptions {
        max_new_tokens: request.max_new_tokens,
        sampling: Some(merged(request.sampling, parts.generator.sampling())),
        seed: request.seed,
        stop: request.stop,
        deadline: request
            .time_limit
            .and_then(|limit| start.checked_add(limit)),
        cancel: None,
    };
    let texts = parts
        .generator
        .generate(prompts, &options, &mut |step| on_text(step.row, step.text));
    let texts = texts.map_err(|error| match isolate::has_ended(&error) {
        true => error.in_file(place),
        false => error,
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let tokens: usize = texts.iter().map(|text| text.new_tokens).sum();
    Ok(Written {
        bundle: ran,
        engine: format!("{} {}", engine.name(), engine.version()),
        texts,
        seconds,
        tokens_per_second: tokens as f64 / seconds.max(f64::MIN_POSITIVE),
    })
}

/// The bundle, which must say how it writes.
fn language_model(subject: Subject) -> Result<Bundle> {
    let (path, hint) = match subject {
        Subject::Bundle(bundle) if bundle.manifest().spec.generation.is_some() => {
            return Ok(*bundle);
        }
        Subject::Bundle(bundle) => {
            let name = bundle.manifest().metadata.full_name();
            (bundle.path().to_owned(), format!("amphora run {name}"))
        }
        Subject::Directory(path) => {
            let hint = format!("amphora pack --model {}", path.display());
            (path, hint)
        }
        Subject::Onnx(path) => {
            let hint = format!("amphora run {}", path.display());
            (path, hint)
        }
        Subject::Package(package) => {
            let path = package.path().to_owned();
            let hint = format!("amphora run {}", path.display());
            (path, hint)
        }
    };
    Err(Error::usage(
        "no-language-model",
        "nothing says how this model writes text: there is no manifest with spec.generation",
    )
    .in_file(path)
    .hint(hint))
}

/// What a bundle gives to write with.
struct Parts {
    generator: Generator,
    files: TokenizerFiles,
    text: TextConfig,
}

impl Parts {
    fn read(
        bundle: Bundle,
        engines: &Engines,
        engine: &Arc<dyn Engine>,
        verify: bool,
    ) -> Result<Self> {
        let manifest = bundle.manifest().clone();
        let generation = manifest.spec.generation.as_ref();
        let generation =
            generation.ok_or_else(|| Error::internal("generation", "checked before"))?;
        let graphs = [&generation.prefill, &generation.decode];
        let wanted = files(&manifest, generation);
        let options = SessionOptions::default();
        let mut contents = BTreeMap::new();
        let [prefill, decode] = if verify {
            let verified = verified(bundle, engines, engine)?;
            for path in wanted {
                contents.insert(path.file_name(), verified.bundle().read(path)?);
            }
            let session = |graph: &String| {
                Session::new(verified.model(graph)?, engine.clone(), &options, None)
            };
            [session(graphs[0])?, session(graphs[1])?]
        } else {
            let mut needed = wanted.clone();
            for graph in graphs {
                let graph = manifest.graph(graph)?;
                needed.insert(&graph.file);
                needed.extend(&graph.data);
            }
            let (report, checked) = check_and_keep(&bundle, &needed)?;
            report.into_result()?;
            for path in wanted {
                contents.insert(path.file_name(), checked.read(path)?);
            }
            let session = |graph: &String| {
                let (bytes, external) = checked.graph_bytes(graph)?;
                let model = decoded(&bundle, bytes, external)?;
                Session::new(&model, engine.clone(), &options, None)
            };
            [session(graphs[0])?, session(graphs[1])?]
        };
        if let Some(template) = &generation.chat_template
            && let Some(bytes) = contents.remove(template.file_name())
        {
            // Whatever it is called in the bundle.
            contents.insert(CHAT_TEMPLATE, bytes);
        }
        Ok(Self {
            generator: Generator::new(prefill, decode, generation)?,
            files: TokenizerFiles::gather(|name| Ok(contents.get(name).cloned()))?,
            text: text_config(&manifest)?,
        })
    }
}

/// The files of the tokenizer, which lie together, and the chat template.
fn files<'m>(manifest: &'m Manifest, generation: &'m Generation) -> BTreeSet<&'m RelativePath> {
    let stated = tokenization(manifest).and_then(|hint| hint.tokenizer.as_ref());
    let stated = stated.or(manifest.assets.tokenizer.as_ref());
    let folder = |path: &RelativePath| {
        let path = path.as_str();
        path.rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_owned()
    };
    let place = stated.map(folder).unwrap_or_default();
    let listed = manifest.files.iter().map(|entry| &entry.path);
    listed
        .filter(|path| TokenizerFiles::NAMES.contains(&path.file_name()) && folder(path) == place)
        .chain(&generation.chat_template)
        .collect()
}

fn tokenization(manifest: &Manifest) -> Option<&Preprocessing> {
    let hints = manifest.spec.io.inputs.iter();
    hints
        .filter_map(|input| input.preprocessing.as_ref())
        .find(|hint| hint.r#type == "tokenization")
}

/// A prompt is never shortened or filled up, and the model's own limit is the one that counts.
fn text_config(manifest: &Manifest) -> Result<TextConfig> {
    let config = tokenization(manifest).and_then(|hint| hint.config.as_ref());
    Ok(TextConfig {
        max_length: Some(usize::MAX),
        truncation: Some(false),
        padding: Some(Padding::None),
        ..TextConfig::from_manifest(config)?
    })
}

/// What was asked for, and for the rest what the manifest says.
fn merged(asked: Sampling, stated: Option<&Sampling>) -> Sampling {
    let stated = stated.cloned().unwrap_or_default();
    Sampling {
        temperature: asked.temperature.or(stated.temperature),
        top_k: asked.top_k.or(stated.top_k),
        top_p: asked.top_p.or(stated.top_p),
        min_p: asked.min_p.or(stated.min_p),
        repetition_penalty: asked.repetition_penalty.or(stated.repetition_penalty),
    }
}

/// The constraint that a pattern makes for this vocabulary.
fn grammar(
    text: &TextProcessor,
    vocabulary: Option<usize>,
    pattern: Option<&Pattern>,
) -> Result<Option<Grammar>> {
    let Some(pattern) = pattern else {
        return Ok(None);
    };
    let known = vocabulary.unwrap_or_else(|| text.vocab_size());
    let bytes = |token: u32| text.token_bytes(token).filter(|_| !text.is_special(token));
    let compiler = GrammarCompiler::new((0..known as u32).map(bytes).collect())?;
    match pattern {
        Pattern::JsonSchema(schema) => compiler.json_schema(schema),
        Pattern::Regex(expression) => compiler.regex(expression),
    }
    .map(Some)
}
