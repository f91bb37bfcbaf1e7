//! Which engine runs a model, and in which process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amphora_bundle::BundleId;
use amphora_error::Result;
use amphora_files::durable;
use amphora_runtime::isolate::{self, Isolation, isolated};
use amphora_runtime::text::chat::{ChatTemplate, Conversation};
use amphora_runtime::{Engine, EngineChoice, OrtLocation};
use amphora_verify::Report;

/// The engine that was asked for, where ONNX Runtime may be, and how it is held back.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// The choice.
    pub choice: EngineChoice,
    /// Where to look for ONNX Runtime.
    pub ort: OrtLocation,
    /// How models of strangers are kept apart; without it every model runs in this process.
    pub walls: Option<Walls>,
}

/// What stands between this process and the models of strangers.
#[derive(Debug, Clone)]
pub struct Walls {
    /// Which models run behind them.
    pub isolate: Isolate,
    /// How the process is started that runs them, and what it may use.
    pub isolation: Isolation,
    /// Where is remembered which bundles an engine has run here; nowhere when absent.
    ///
    /// One small file for each bundle and engine. It says that the engine ran the bundle's golden
    /// vectors to the end, and nothing about bytes: those are compared with the manifest every time.
    pub verified: Option<PathBuf>,
}

/// Which models run in a process of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolate {
    /// Those of strangers: ONNX files, bundles that the engine has not verified on this machine, and
    /// every chat template.
    #[default]
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

impl Engines {
    /// The chosen engine, in this process.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Unsupported`] when this build or this machine does not have it.
    pub fn get(&self) -> Result<Arc<dyn Engine>> {
        amphora_runtime::engine(self.choice, &self.ort)
    }

    /// The engine for a graph that Amphora has just made itself.
    pub(crate) fn for_own_graph(&self) -> Result<Arc<dyn Engine>> {
        self.behind(|walls, _| walls.isolate == Isolate::Always)
    }

    /// The engine for a graph from elsewhere.
    pub(crate) fn for_foreign_graph(&self) -> Result<Arc<dyn Engine>> {
        self.behind(|walls, _| walls.isolate != Isolate::Never)
    }

    /// The engine for a bundle.
    pub(crate) fn for_bundle(&self, id: &BundleId) -> Result<Arc<dyn Engine>> {
        self.behind(|walls, engine| match walls.isolate {
            Isolate::Always => true,
            Isolate::Never => false,
            Isolate::Auto => !walls.mark(id, engine).is_some_and(|mark| mark.is_file()),
        })
    }

    /// Remembers that `engine` ran all golden vectors of this bundle to the end, when `report` says so.
    /// Where that cannot be written down, the bundle stays a stranger's.
    pub(crate) fn remember(&self, id: &BundleId, engine: &dyn Engine, report: &Report) {
        let check = "numeric_equivalence";
        let skipped = report.skipped.iter().any(|skipped| skipped.check == check);
        if !report.passed || report.numeric_equivalence.is_none() || skipped {
            return;
        }
        let mark = self.walls.as_ref().and_then(|walls| walls.mark(id, engine));
        let Some(mark) = mark.filter(|mark| !mark.is_file()) else {
            return;
        };
        let folder = mark.parent().unwrap_or(Path::new("."));
        let written =
            durable::create_directory(folder).and_then(|()| durable::write_file(&mark, b""));
        if let Err(error) = written {
            tracing::info!(%error, "that the bundle is verified cannot be remembered");
        }
    }

    /// The prompt that a chat template makes. No golden vectors speak for a template: it is rendered
    /// behind the walls unless nothing is.
    pub(crate) fn render(
        &self,
        template: &ChatTemplate,
        conversation: &Conversation,
    ) -> Result<String> {
        match &self.walls {
            Some(walls) if walls.isolate != Isolate::Never => {
                isolate::render(&walls.isolation, template, conversation)
            }
            _ => template.render(conversation),
        }
    }

    fn behind(&self, needed: impl Fn(&Walls, &dyn Engine) -> bool) -> Result<Arc<dyn Engine>> {
        let engine = self.get()?;
        Ok(match &self.walls {
            Some(walls) if needed(walls, engine.as_ref()) => {
                isolated(engine, walls.isolation.clone())
            }
            _ => engine,
        })
    }
}

impl Walls {
    /// The file that says that `engine` has run this bundle; a new version of an engine runs it anew.
    fn mark(&self, id: &BundleId, engine: &dyn Engine) -> Option<PathBuf> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '.' };
        let version: String = engine.version().chars().map(plain).collect();
        let name = format!("{id}-{}-{version}", engine.name());
        self.verified.as_ref().map(|folder| folder.join(name))
    }
}
