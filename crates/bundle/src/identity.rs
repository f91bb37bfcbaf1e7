//! Who a bundle is: the digest of what it holds and promises.

use std::fmt;

use amphora_error::{Result, quoted};
use amphora_files::{Digest, sha256};
use serde_json::Value;

use crate::manifest::{FileEntry, ManifestFields};

/// First line of the canonical form; a different form gets a different number.
const FORM: &str = "amphora-bundle-id 1";
/// Folders whose files do not take part in the identity: how a bundle was checked and explained.
const NOT_PAYLOAD: [&str; 3] = ["golden/", "validation/", "docs/"];

/// The identity of a bundle: SHA-256 of its [canonical form](canonical_form).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct BundleId(Digest);

impl BundleId {
    /// Parses 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self> {
        Digest::parse(text)
            .map(Self)
            .map_err(|error| error.at(format!("bundle id {}", quoted(text))))
    }

    /// The id that these fields deserve (their own `identity` is not looked at).
    pub(crate) fn of(fields: &ManifestFields) -> Result<Self> {
        Ok(Self(sha256(canonical_form(fields)?.as_bytes())))
    }

    /// Stands in until the content is known.
    pub(crate) fn of_nothing() -> Self {
        Self(sha256(b""))
    }

    /// The digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }

    /// The first 12 hexadecimal digits: the folder's name, and the `exp_hash` of document 003.
    pub fn exp_hash(&self) -> String {
        self.0.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Whether a file takes part in the identity.
pub fn is_payload(entry: &FileEntry) -> bool {
    !NOT_PAYLOAD
        .iter()
        .any(|folder| entry.path.as_str().starts_with(folder))
}

/// The text whose SHA-256 is the id. UTF-8, every line ended by one line feed:
///
/// ```text
/// amphora-bundle-id 1
/// name NAME
/// version VERSION
/// contract SHA256
/// file SIZE SHA256 PATH
/// ```
///
/// `NAME` is namespace and name joined by `/`. The contract's digest is taken over
/// `{"entry":...,"graphs":...}` with the values of `spec.entry` and `spec.graphs`, and with
/// `"generation"` where the manifest has `spec.generation`, as JSON without white space, keys sorted by
/// code point. There is one `file` line for each payload file, sorted
/// by the bytes of the path; `manifest.yaml`, `manifest.sha256` and everything in `golden/`,
/// `validation/` and `docs/` are no payload. Clock, host and place take no part.
pub fn canonical_form(fields: &ManifestFields) -> Result<String> {
    let mut contract = serde_json::json!({
        "entry": fields.spec.entry,
        "graphs": fields.spec.graphs,
    });
    if let Some(generation) = &fields.spec.generation {
        contract["generation"] = serde_json::json!(generation);
    }
    let contract = sha256(sorted_json(&contract).as_bytes());
    let mut text = format!(
        "{FORM}\nname {}\nversion {}\ncontract {contract}\n",
        fields.metadata.full_name(),
        fields.metadata.version,
    );
    let mut payload: Vec<&FileEntry> = fields.files.iter().filter(|f| is_payload(f)).collect();
    payload.sort_by(|a, b| a.path.cmp(&b.path));
    for file in payload {
        text.push_str(&format!(
            "file {} {} {}\n",
            file.size, file.sha256, file.path
        ));
    }
    Ok(text)
}

/// JSON without white space, the keys of every object sorted. The depth of `value` is bounded by
/// the reader of the manifest.
fn sorted_json(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let mut keys: Vec<&String> = entries.keys().collect();
            keys.sort();
            let parts: Vec<String> = keys
                .into_iter()
                .map(|key| {
                    format!(
                        "{}:{}",
                        Value::from(key.as_str()),
                        sorted_json(&entries[key])
                    )
                })
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().map(sorted_json).collect();
            format!("[{}]", parts.join(","))
        }
        scalar => scalar.to_string(),
    }
}
