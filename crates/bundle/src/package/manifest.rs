//! `manifest.yaml` of a package: the keys of document 004 and no others.

use std::collections::BTreeSet;

use amphora_error::{Error, Result, quoted};
use amphora_files::{Digest, RelativePath};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::rules;
use crate::manifest::{
    ApiVersion, Author, Dependencies, ExecutionFile, Io, Kind, Performance, Registry, Requirements,
    write, yaml,
};
use crate::{Name, Timestamp, Version, slug};

/// How much a package's manifest must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What it takes to use a package that is there: what installers wrote passes, with unknown
    /// sizes and digests, names of any kind and without `spec.io`.
    Install,
    /// What it takes to publish one: everything that document 004 requires.
    Publish,
}

/// The manifest of a package.
///
/// It is read as strictly as that of a bundle: no unknown key, no key twice, no anchor or tag, only
/// finite numbers; errors name line and column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageManifest {
    /// The version of the format.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// What the manifest describes.
    pub kind: Kind,
    /// Name, version and who made it.
    pub metadata: PackageMetadata,
    /// What goes in, what comes out, what runs.
    pub spec: PackageSpec,
    /// Where the package was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<PackageDistribution>,
}

/// Name, version and who made it, as they were written: installers take names and versions that
/// [`Name`] and [`Version`] do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageMetadata {
    /// The name, without the namespace; may have several segments.
    pub name: String,
    /// The namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The version, a semantic one or `latest` as a rule.
    pub version: String,
    /// What the model does, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The licence.
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
    /// When the package was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<Timestamp>,
}

/// What goes in, what comes out, what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSpec {
    /// What the model was trained with.
    pub framework: PackageFramework,
    /// The files of the model.
    pub format: PackageFormat,
    /// Inputs and outputs; a graph describes itself where this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Io>,
    /// What the model needs to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// How it performs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// What else must be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
}

/// What the model was trained with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFramework {
    /// `pytorch`, `tensorflow`, `onnx`, ...
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The files of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFormat {
    /// The format the model came in.
    pub r#type: String,
    /// The format that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_format: Option<String>,
    /// How several encoders belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_encoder: Option<String>,
    /// The files of the package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PackageFile>,
    /// The files that run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub execution_files: Vec<ExecutionFile>,
}

/// One file; size 0 and no digest where nobody knew them when the manifest was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFile {
    /// The path inside the package.
    pub path: RelativePath,
    /// The size in bytes.
    #[serde(default)]
    pub size: u64,
    /// The digest.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "digest"
    )]
    pub sha256: Option<Digest>,
}

/// Where a package was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageDistribution {
    /// The package file.
    pub package: PackageArchive,
    /// The registry that lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
}

/// A published package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageArchive {
    /// Where to get it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Its size in bytes, 0 where it is not known.
    #[serde(default)]
    pub size: u64,
    /// Its digest.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "digest"
    )]
    pub sha256: Option<Digest>,
    /// Other places that hold the same bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

/// An empty text is a digest that is not known yet.
fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => Digest::parse(&text)
            .map(Some)
            .map_err(serde::de::Error::custom),
    }
}

impl PackageManifest {
    /// Reads `manifest.yaml` and checks it at `level`.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`]: for what is not such a document with line and
    /// column, for broken rules (`package-manifest`) listing all of them.
    pub fn parse(bytes: &[u8], level: Level) -> Result<Self> {
        let mut manifest: Self = yaml::read(bytes).map_err(|error| explained(error, bytes))?;
        // Installers write an empty schema where they know none.
        let empty = |io: &Io| io.inputs.is_empty() && io.outputs.is_empty();
        if manifest.spec.io.as_ref().is_some_and(empty) {
            manifest.spec.io = None;
        }
        manifest.check(level)?;
        Ok(manifest)
    }

    /// The manifest as YAML; the same manifest always gives the same bytes.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] for a manifest that [`PackageManifest::parse`] would
    /// refuse.
    pub fn to_yaml(&self) -> Result<String> {
        self.check(Level::Install)?;
        write::to_yaml(self)
    }

    /// Checks that the manifest says what `level` asks for.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] (`package-manifest`) listing every rule that is broken.
    pub fn check(&self, level: Level) -> Result<()> {
        rules::check(self, level)
    }

    /// The name under which a store finds the bundle that is made of this package: namespace and
    /// name in the alphabet of [`Name`], everything else a hyphen.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when no letter or digit is left of it.
    pub fn bundle_name(&self) -> Result<Name> {
        let PackageMetadata {
            name, namespace, ..
        } = &self.metadata;
        let whole = match namespace {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
            _ => name.clone(),
        };
        let segments: Vec<String> = whole.split('/').map(slug).collect();
        let kept: Vec<&str> = segments
            .iter()
            .map(String::as_str)
            .filter(|segment| !segment.is_empty())
            .collect();
        Name::parse(&kept.join("/")).map_err(|_| {
            Error::malformed("package-name", "no name for a bundle can be made of this")
                .at("metadata.name")
                .found(quoted(&whole).to_string())
        })
    }

    /// The version of the bundle that is made of this package: the same where it is semantic or
    /// `latest`, with zeros where one or two numbers are missing, else `latest`.
    pub fn bundle_version(&self) -> Result<Version> {
        let text = self.metadata.version.trim_start_matches('v');
        let padded = [text.to_owned(), format!("{text}.0"), format!("{text}.0.0")];
        let found = padded.iter().find_map(|text| Version::parse(text).ok());
        found.map_or_else(|| Version::parse("latest"), Ok)
    }

    /// The paths under `spec.format`, each once.
    pub fn paths(&self) -> BTreeSet<&RelativePath> {
        let format = &self.spec.format;
        let files = format.files.iter().map(|file| &file.path);
        files
            .chain(format.execution_files.iter().map(|file| &file.path))
            .collect()
    }
}

/// Points from the shapes that documentation shows to those that are read.
fn explained(error: Error, bytes: &[u8]) -> Error {
    let Ok(document) = yaml::read::<Value>(bytes) else {
        return error;
    };
    let spec = &document["spec"];
    let files = spec["format"]["files"].as_array();
    if spec.get("resources").is_some() {
        return error.hint("what the model needs stands under spec.requirements");
    }
    match files.is_some_and(|files| files.iter().any(Value::is_string)) {
        true => error
            .hint("write every file of spec.format.files as a mapping of path, size and sha256"),
        false => error,
    }
}
