//! `metadata`, `distribution` and `provenance`: who a model is and where it came from.

use amphora_files::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Name, Timestamp, Version};

/// Name, version and who made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The name, without the namespace.
    pub name: Name,
    /// The namespace, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// The version.
    pub version: Version,
    /// What the model does, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The licence of the model, as an SPDX expression where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Who made the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Author>,
    /// Its home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Where its documentation is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When the bundle was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it was last changed, in registries that change packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<Timestamp>,
}

impl Metadata {
    /// Metadata with a name, a version and nothing else.
    pub fn new(name: &Name, version: Version) -> Self {
        let (namespace, name) = name.split();
        Self {
            name,
            namespace,
            version,
            description: String::new(),
            license: None,
            authors: Vec::new(),
            homepage: None,
            documentation: None,
            tags: Vec::new(),
            created: None,
            updated: None,
        }
    }

    /// Namespace and name joined by `/`: the name by which a store finds the bundle.
    pub fn full_name(&self) -> Name {
        Name::join(self.namespace.as_ref(), &self.name)
    }
}

/// One author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

/// Where a package was published (document 004).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// The package file.
    pub package: DistributionPackage,
    /// The registry that lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
}

/// A published package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistributionPackage {
    /// Where to get it.
    pub url: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Other places that hold the same bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

/// A registry and the namespace in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// The address.
    pub url: String,
    /// The namespace.
    pub namespace: String,
}

/// Where the model came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The commit of the code that trained the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
    /// Who packed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The program that packed it, with its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_with: Option<String>,
    /// The architecture, as the configuration's `model_type` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The checkpoint, or the foreign model, that was packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Digest of the configuration that was packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<Digest>,
    /// The experiment hash that an imported bundle had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp_hash: Option<String>,
}

impl Provenance {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The file a model was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its format, for example `safetensors`, `torch_zip`, `torch_legacy` or `onnx`.
    pub format: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}
