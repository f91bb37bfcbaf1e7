//! The grid file.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted};
use amphora_files::RelativePath;
use serde::Deserialize;
use serde_json::Value;

use crate::evaluate::Decode;
use crate::train::{ModelKind, TrainConfig};

/// Most runs of one grid.
const MAX_RUNS: usize = 1_000;

/// A parsed grid.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Folds over tasks.
    #[serde(default = "three")]
    pub folds: usize,
    /// Most decisions of one task.
    #[serde(default = "four")]
    pub rows_per_task: usize,
    /// What every run shares.
    #[serde(default)]
    base: BTreeMap<String, Value>,
    /// By axis, by name: what a run changes.
    axes: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
}

fn three() -> usize {
    3
}

fn four() -> usize {
    4
}

/// One run of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct GridRun {
    /// Its axis.
    pub axis: String,
    /// `<axis>_<name>`.
    pub name: String,
    /// What is trained.
    pub config: TrainConfig,
    /// How its heads come to one action.
    pub decode: Decode,
}

impl Grid {
    /// Reads a grid.
    ///
    /// # Errors
    ///
    /// Malformed (`grid`) for text that is no grid, with line and column.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|source| {
            let place = source.span().map(|span| {
                let before = text.get(..span.start).unwrap_or(text);
                format!("line {}", before.matches('\n').count() + 1)
            });
            let error = Error::malformed("grid", format!("this is no grid: {}", source.message()));
            match place {
                Some(place) => error.at(place),
                None => error,
            }
        })
    }

    /// The runs, by axis and name.
    ///
    /// # Errors
    ///
    /// Usage: `grid-empty` without runs, `grid-size` for more than a thousand, `grid-run` for a change
    /// that makes no training configuration, or a name that is no file name.
    pub fn runs(&self) -> Result<Vec<GridRun>> {
        let mut runs = Vec::new();
        for (axis, values) in &self.axes {
            // Numbers stand in their order, not in that of their digits.
            let mut values: Vec<_> = values.iter().collect();
            values.sort_by_key(|(name, _)| (name.parse::<u64>().ok(), (*name).clone()));
            for (value, changes) in values {
                let name = format!("{axis}_{value}");
                let run = self.config(changes).and_then(|config| {
                    RelativePath::parse(&name)?;
                    Ok((config, self.decode(changes)?))
                });
                let (config, decode) = run.map_err(|source| {
                    Error::usage("grid-run", format!("this run cannot be made: {source}"))
                        .at(format!("run {}", quoted(&name)))
                })?;
                runs.push(GridRun {
                    axis: axis.clone(),
                    name,
                    config,
                    decode,
                });
            }
        }
        if runs.is_empty() {
            return Err(Error::usage("grid-empty", "the grid has no run"));
        }
        if runs.len() > MAX_RUNS {
            return Err(Error::usage("grid-size", "the grid has too many runs")
                .expected(format!("at most {MAX_RUNS}"))
                .found(runs.len().to_string()));
        }
        Ok(runs)
    }

    fn decode(&self, changes: &BTreeMap<String, Value>) -> Result<Decode> {
        match changes.get(DECODE).or_else(|| self.base.get(DECODE)) {
            None => Ok(Decode::default()),
            Some(word) => serde_json::from_value(word.clone()).map_err(|source| {
                Error::usage("grid-run", format!("no way to decode: {source}"))
                    .expected("joint, masked or autoregressive")
            }),
        }
    }

    fn config(&self, changes: &BTreeMap<String, Value>) -> Result<TrainConfig> {
        let wrong = |source: serde_json::Error| {
            Error::usage("grid-run", format!("no training configuration: {source}"))
        };
        let model = changes.get("model").or_else(|| self.base.get("model"));
        let kind: ModelKind = match model {
            Some(model) => serde_json::from_value(model.clone()).map_err(wrong)?,
            None => ModelKind::Mlp,
        };
        let mut document = serde_json::to_value(TrainConfig::new(kind)).map_err(wrong)?;
        for change in [&self.base, changes] {
            for (field, value) in change.iter().filter(|(field, _)| *field != DECODE) {
                merge(&mut document, field, value);
            }
        }
        let config: TrainConfig = serde_json::from_value(document).map_err(wrong)?;
        config.check()?;
        Ok(config)
    }
}

/// What a run says about decoding; every other field is one of the training configuration.
const DECODE: &str = "decode";

/// Sets a field; of an object, its fields.
fn merge(document: &mut Value, field: &str, value: &Value) {
    match (document.get_mut(field), value) {
        (Some(Value::Object(inner)), Value::Object(changes)) => {
            for (field, value) in changes {
                inner.insert(field.clone(), value.clone());
            }
        }
        _ => {
            if let Value::Object(fields) = document {
                fields.insert(field.to_owned(), value.clone());
            }
        }
    }
}
