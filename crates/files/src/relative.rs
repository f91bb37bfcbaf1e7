//! The canonical form of a path that comes from inside a file.

use std::fmt;
use std::path::Path;

use amphora_error::{Error, Result, quoted};
use unicode_normalization::is_nfc;

/// Longest path accepted, in bytes.
const MAX_BYTES: usize = 1024;
/// Longest component accepted, in bytes (the limit of common file systems is 255).
const MAX_COMPONENT_BYTES: usize = 240;
/// Deepest path accepted, in components.
const MAX_COMPONENTS: usize = 32;

/// Device names that Windows resolves in every directory, whatever the extension.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A relative path in its one canonical form, the same on every platform: components joined by `/`,
/// none of them empty, `.` or `..`, no backslash, colon, control character or wildcard, Unicode in
/// normalization form C, no trailing dot or space, no Windows device name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

impl RelativePath {
    /// Accepts `text` only if it already is canonical; nothing is stripped or repaired.
    pub fn parse(text: &str) -> Result<Self> {
        match fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(Error::malformed(
                "path-not-canonical",
                format!("the path {} is refused: {reason}", quoted(text)),
            )
            .hint("use a relative path with '/' between plain names")),
        }
    }

    /// The path as text, components joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, outermost first; never empty.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// This path beneath `parent` (for messages and for writing; reading goes through
    /// [`crate::Directory`]).
    pub fn beneath(&self, parent: &Path) -> std::path::PathBuf {
        let mut path = parent.to_owned();
        path.extend(self.components());
        path
    }

    /// A key under which two paths collide on a file system that folds case or normalizes Unicode.
    pub fn collision_key(&self) -> String {
        use unicode_normalization::UnicodeNormalization;
        self.0.nfkc().flat_map(char::to_lowercase).nfkc().collect()
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > MAX_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    if text.starts_with('/') {
        return Some("it is absolute");
    }
    if text.contains('\\') {
        return Some("it contains a backslash");
    }
    if text
        .chars()
        .any(|c| matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|'))
    {
        return Some("it contains a character that some platforms reserve");
    }
    if text.chars().any(|c| {
        c.is_control()
            || amphora_error::printable(c.encode_utf8(&mut [0; 4])) != *c.encode_utf8(&mut [0; 4])
    }) {
        return Some("it contains a control or invisible character");
    }
    if !is_nfc(text) {
        return Some("it is not in Unicode normalization form C");
    }
    let mut count = 0;
    for component in text.split('/') {
        count += 1;
        if component.is_empty() {
            return Some("it has an empty component");
        }
        if component == "." || component == ".." {
            return Some("it contains '.' or '..'");
        }
        if component.len() > MAX_COMPONENT_BYTES {
            return Some("a component is longer than 240 bytes");
        }
        if component.ends_with(['.', ' ']) || component.starts_with(' ') {
            return Some("a component starts with a space, or ends with a dot or a space");
        }
        let stem = component.split('.').next().unwrap_or(component);
        if RESERVED
            .iter()
            .any(|name| stem.trim_end().eq_ignore_ascii_case(name))
        {
            return Some("a component is a device name on some platforms");
        }
    }
    (count > MAX_COMPONENTS).then_some("it has more than 32 components")
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RelativePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for RelativePath {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl serde::Serialize for RelativePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for RelativePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for RelativePath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RelativePath".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_BYTES,
            "pattern": "^[^/\\\\:*?\"<>|]+(/[^/\\\\:*?\"<>|]+)*$",
            "description": "relative path, components joined by '/'"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_accepted() {
        let good = [
            "model.onnx",
            "weights/all.bin",
            "a b/c",
            "caf\u{e9}.txt",
            ".hidden",
            "con-1",
        ];
        let bad = [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "..\\..\\x",
            "C:w",
            "C:\\w",
            "\\\\server\\share",
            "file://x",
            "nul",
            "NUL.txt",
            "a/CON",
            "lpt1.data",
            "a.",
            "a ",
            " a",
            "cafe\u{301}",
            "a\0b",
            "a\nb",
            "a\u{202e}b",
            "a*",
        ];
        let mut wrong: Vec<_> = good
            .iter()
            .filter(|p| RelativePath::parse(p).is_err())
            .collect();
        wrong.extend(bad.iter().filter(|p| RelativePath::parse(p).is_ok()));
        let deep = vec!["d"; 33].join("/");
        assert!(RelativePath::parse(&deep).is_err());
        assert!(RelativePath::parse(&"x".repeat(241)).is_err());
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn case_and_unicode_twins_share_a_collision_key() {
        let key = |text| RelativePath::parse(text).unwrap().collision_key();
        assert_eq!(key("Model.ONNX"), key("model.onnx"));
        assert_eq!(key("\u{ff4d}odel"), key("model"));
        assert_ne!(key("a/b"), key("a-b"));
    }
}
