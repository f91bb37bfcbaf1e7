//! Reading YAML strictly, twice: once as events, to refuse what YAML can do beyond plain data, and
//! once into the typed fields.

use amphora_error::{Error, Result, printable};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};

use super::{MAX_BYTES, ManifestFields};

/// Deepest nesting accepted.
const MAX_DEPTH: usize = 32;
/// Most scalars and collections accepted.
const MAX_NODES: usize = 1 << 19;
/// Longest part of a parser's message that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// Reads the fields of a manifest; their meaning is not checked yet.
pub(super) fn parse(bytes: &[u8]) -> Result<ManifestFields> {
    let text = text_of(bytes)?;
    scan(text)?;
    from_str(text).map_err(|error| newer_version(text).unwrap_or(error))
}

/// Reads a YAML document into `T` with the strictness of a manifest.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let text = text_of(bytes)?;
    scan(text)?;
    from_str(text)
}

/// Reads a YAML document of any shape with the strictness of a manifest: no key twice, no anchor,
/// alias, merge key or tag, only finite numbers, bounded in depth and size.
pub fn parse_yaml(bytes: &[u8]) -> Result<serde_json::Value> {
    read(bytes)
}

fn text_of(bytes: &[u8]) -> Result<&str> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(
            Error::limit("manifest-size", "the YAML document is too large")
                .expected(format!("at most {MAX_BYTES} bytes"))
                .found(format!("{} bytes", bytes.len())),
        );
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Error::malformed(
            "yaml-bom",
            "the YAML document starts with a byte order mark",
        )
        .at("line 1, column 1")
        .hint("save the file as UTF-8 without a byte order mark"));
    }
    std::str::from_utf8(bytes).map_err(|source| {
        let line = bytes[..source.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Error::malformed("yaml-encoding", "the YAML document is not UTF-8")
            .at(format!("line {}", line + 1))
    })
}

/// Walks the events of the document without building anything.
fn scan(text: &str) -> Result<()> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
    };
    let mut depth = 0_usize;
    let mut documents = 0;
    for (nodes, item) in Parser::new_from_str_with_options(text, options).enumerate() {
        let (event, span) = item.map_err(|source| {
            let place = place(source.marker().line(), source.marker().col() + 1);
            malformed("yaml", &format!("this is not YAML: {}", source.info())).at(place)
        })?;
        let refuse = |rule, message: &str| Err(malformed(rule, message).at(place_of(&span)));
        if nodes > MAX_NODES {
            return Err(
                Error::limit("yaml-nodes", "the YAML document has too many values")
                    .at(place_of(&span)),
            );
        }
        let (anchor, tag) = match &event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return refuse("yaml-documents", "a second document follows");
                }
                continue;
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                return refuse("yaml-alias", "aliases are not allowed");
            }
            Event::Scalar(value, style, anchor, tag) => {
                if *style == ScalarStyle::Plain && value.as_ref() == "<<" {
                    return refuse("yaml-merge-key", "merge keys are not allowed");
                }
                if value.chars().any(forbidden) {
                    return refuse("yaml-control", "a control character is not allowed");
                }
                (*anchor, tag.is_some())
            }
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Error::limit(
                        "yaml-depth",
                        "the YAML document is nested too deeply",
                    )
                    .expected(format!("at most {MAX_DEPTH} levels"))
                    .at(place_of(&span)));
                }
                (*anchor, tag.is_some())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                depth = depth.saturating_sub(1);
                continue;
            }
            _ => continue,
        };
        if anchor != 0 {
            return refuse("yaml-anchor", "anchors are not allowed");
        }
        if tag {
            return refuse("yaml-tag", "tags are not allowed");
        }
    }
    if documents == 0 {
        return Err(malformed("yaml-empty", "the YAML document is empty").at("line 1, column 1"));
    }
    Ok(())
}

/// Control characters other than line feed and tab, which no field of a manifest needs.
pub(crate) fn forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_merge_keys: 0,
            max_documents: 1,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::Reject,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|source| {
        let message = source.without_snippet().to_string();
        let error = malformed(
            "manifest",
            &format!("this is not the YAML expected here: {message}"),
        );
        match source.location() {
            Some(location) => error.at(place(location.line(), location.column())),
            None => error,
        }
    })
}

/// The refusal of a manifest that says itself that it needs a newer Amphora.
fn newer_version(text: &str) -> Option<Error> {
    #[derive(Deserialize)]
    struct Outline {
        compatibility: Compatibility,
    }
    #[derive(Deserialize)]
    struct Compatibility {
        amphora_min_version: semver::Version,
    }
    let outline: Outline = from_str(text).ok()?;
    refuse_newer(&outline.compatibility.amphora_min_version).err()
}

/// Refuses manifests that need a newer Amphora than this one.
pub(super) fn refuse_newer(needed: &semver::Version) -> Result<()> {
    let here = semver::Version::parse(env!("CARGO_PKG_VERSION"))
        .map_err(|source| Error::internal("own-version", "the own version").caused_by(source))?;
    if *needed <= here {
        return Ok(());
    }
    Err(Error::unsupported(
        "manifest-version",
        "the manifest needs a newer version of Amphora",
    )
    .expected(format!("at least {needed}"))
    .found(here.to_string())
    .hint("install a newer Amphora"))
}

fn malformed(rule: &'static str, message: &str) -> Error {
    let mut shown: String = printable(message).chars().take(MAX_MESSAGE + 1).collect();
    if shown.chars().count() > MAX_MESSAGE {
        shown.pop();
        shown.push('…');
    }
    Error::malformed(rule, shown)
}

fn place_of(span: &Span) -> String {
    place(span.start.line(), span.start.col() + 1)
}

fn place(line: impl std::fmt::Display, column: impl std::fmt::Display) -> String {
    format!("line {line}, column {column}")
}
