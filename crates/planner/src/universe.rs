//! A universe: its swarms, its objectives, its defaults.
//!
//! A universe is a folder of three YAML files, `universe.yaml`, `swarms.yaml` and `objectives.yaml`.
//! All three are open: keys that a planner has no use for are let pass.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_bundle::parse_yaml;
use amphora_error::{Error, Result, quoted};
use amphora_files::{Directory, RelativePath};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::action_space::{ActionSpace, SERIAL, SPECULATE};
use crate::contracts::UniverseDefaults;

/// Largest of the files, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A universe.
#[derive(Debug, Clone, PartialEq)]
pub struct Universe {
    /// Its name.
    pub universe_id: String,
    /// What it does by default.
    pub defaults: UniverseDefaults,
    /// Its swarms by name.
    pub swarms: BTreeMap<String, Swarm>,
    /// Its objectives by name.
    pub objectives: BTreeMap<String, Objective>,
    /// Most minutes a run may take, if it says so.
    pub max_run_minutes: Option<u32>,
    /// Most workcells at a time, if it says so.
    pub max_concurrent_workcells: Option<u32>,
}

/// A way to coordinate agents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Swarm {
    /// How it coordinates, for example `parallel_compete`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How many candidates it has.
    pub population_size: Option<u32>,
}

/// What is to be achieved.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Objective {
    /// Which metric, and in which direction.
    #[serde(default)]
    pub metrics: BTreeMap<String, Direction>,
}

/// Whether more or less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is better.
    Max,
    /// Less is better.
    Min,
}

#[derive(Deserialize)]
struct UniverseFile {
    universe_id: String,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    policies: Policies,
}

#[derive(Default, Deserialize)]
struct Defaults {
    swarm_id: Option<String>,
    objective_id: Option<String>,
}

#[derive(Default, Deserialize)]
struct Policies {
    #[serde(default)]
    budgets: Limits,
}

#[derive(Default, Deserialize)]
struct Limits {
    max_concurrent_workcells: Option<u32>,
    max_run_minutes: Option<u32>,
}

#[derive(Deserialize)]
struct SwarmsFile {
    swarms: BTreeMap<String, Swarm>,
}

#[derive(Deserialize)]
struct ObjectivesFile {
    objectives: BTreeMap<String, Objective>,
}

impl Universe {
    /// Reads the universe in the folder `path`.
    ///
    /// # Errors
    ///
    /// When a file is missing or not what it should be, and when a default names a swarm or an
    /// objective that is not in its list.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Directory::open(path)?;
        let universe: UniverseFile = read(&folder, path, "universe.yaml")?;
        let SwarmsFile { swarms } = read(&folder, path, "swarms.yaml")?;
        let ObjectivesFile { objectives } = read(&folder, path, "objectives.yaml")?;
        let listed = |name: &Option<String>, key: &str, list: &str, is_listed: bool| match name {
            Some(name) if !is_listed => Err(Error::malformed(
                "universe-default",
                format!("a default is not in {list}"),
            )
            .found(quoted(name).to_string())
            .in_file(path.join("universe.yaml"))
            .at(format!("defaults.{key}"))),
            _ => Ok(()),
        };
        let Defaults {
            swarm_id,
            objective_id,
        } = universe.defaults;
        let has_swarm = swarm_id.as_ref().is_some_and(|id| swarms.contains_key(id));
        listed(&swarm_id, "swarm_id", "swarms.yaml", has_swarm)?;
        let has_objective = objective_id
            .as_ref()
            .is_some_and(|id| objectives.contains_key(id));
        listed(
            &objective_id,
            "objective_id",
            "objectives.yaml",
            has_objective,
        )?;
        Ok(Self {
            universe_id: universe.universe_id,
            defaults: UniverseDefaults {
                swarm_id,
                objective_id,
            },
            swarms,
            objectives,
            max_run_minutes: universe.policies.budgets.max_run_minutes,
            max_concurrent_workcells: universe.policies.budgets.max_concurrent_workcells,
        })
    }

    /// The swarms of the action space: sorted, without empty names; the documents' two when the
    /// universe lists none.
    pub fn swarm_ids(&self) -> Vec<String> {
        let names: Vec<String> = self
            .swarms
            .keys()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        if names.is_empty() {
            return vec![SERIAL.to_owned(), SPECULATE.to_owned()];
        }
        names
    }

    /// The documents' action space with the swarms of this universe.
    pub fn action_space(&self) -> ActionSpace {
        ActionSpace {
            swarm_ids: self.swarm_ids(),
            ..ActionSpace::default()
        }
    }

    /// How many candidates the swarm called `swarm_id` has.
    pub fn population_size(&self, swarm_id: &str) -> Option<u32> {
        self.swarms.get(swarm_id)?.population_size
    }
}

fn read<T: DeserializeOwned>(folder: &Directory, path: &Path, name: &str) -> Result<T> {
    let place = path.join(name);
    let parse = || {
        let bytes = folder
            .open_file(&RelativePath::parse(name)?)?
            .contents(MAX_BYTES)?;
        T::deserialize(&parse_yaml(&bytes)?).map_err(|source| {
            Error::malformed(
                "universe",
                format!("this is no part of a universe: {source}"),
            )
        })
    };
    parse().map_err(|error| error.in_file(place))
}
