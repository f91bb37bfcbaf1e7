//! Issues as an issue tracker keeps them: one JSON object a line.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::{OpenedFile, json};
use serde_json::{Map, Value};

use crate::contracts::{IssueFields, Priority, Risk, Size};

/// Largest file of issues, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// One issue.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    /// Its name; never empty.
    pub id: String,
    /// One line about it.
    pub title: String,
    /// Such as `open`, `ready`, `running`, `done`, `closed`, `escalated`.
    pub status: String,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
    /// When it was changed last, RFC 3339.
    pub updated: Option<String>,
    /// All about it.
    pub description: Option<String>,
    /// What must hold when it is solved.
    pub acceptance_criteria: Vec<String>,
    /// What to read first.
    pub context_files: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// How urgent it is.
    pub dk_priority: Priority,
    /// How much a wrong change could break.
    pub dk_risk: Risk,
    /// How large it is.
    pub dk_size: Size,
    /// The toolchain it asks for.
    pub dk_tool_hint: Option<String>,
    /// Whether it asks for several candidates.
    pub dk_speculate: bool,
    /// How often it may be tried.
    pub dk_max_attempts: u32,
    /// How often it was tried.
    pub dk_attempts: u32,
    /// What may not be changed.
    pub dk_forbidden_paths: Vec<String>,
    /// How many people must look at the change.
    pub dk_required_reviewers: u32,
    /// The issue it is part of.
    pub dk_parent: Option<String>,
    /// How many tokens it may take.
    pub dk_estimated_tokens: u64,
    /// Whether the change is applied.
    pub dk_apply_patch: bool,
    /// The prompt it is solved with.
    pub dk_prompt_genome_id: Option<String>,
    /// Its gates by name: a command, or an object.
    pub dk_quality_gates: Map<String, Value>,
    /// How the model samples.
    pub dk_sampling: Map<String, Value>,
}

/// The issues of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Issues {
    /// Each once, in the order of first appearance; the last line of an id counts.
    pub issues: Vec<Issue>,
    /// Lines that hold no issue.
    pub skipped: u64,
}

impl Issues {
    /// The issue called `id`.
    pub fn get(&self, id: &str) -> Option<&Issue> {
        self.issues.iter().find(|issue| issue.id == id)
    }
}

/// Reads a file of issues. A line that holds no issue is counted, never an error.
///
/// # Errors
///
/// When the file cannot be read.
pub fn read_issues(path: &Path) -> Result<Issues> {
    let bytes = OpenedFile::open(path)?.contents(MAX_BYTES)?;
    Ok(parse_issues(&bytes))
}

/// As [`read_issues`], from bytes.
pub fn parse_issues(bytes: &[u8]) -> Issues {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut issues: Vec<Issue> = Vec::new();
    let mut skipped = 0;
    for line in bytes.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let issue = json::parse(line).and_then(|value| Issue::from_value(&value));
        match issue {
            Ok(issue) => match places.get(&issue.id) {
                Some(&place) => issues[place] = issue,
                None => {
                    places.insert(issue.id.clone(), issues.len());
                    issues.push(issue);
                }
            },
            Err(_) => skipped += 1,
        }
    }
    Issues { issues, skipped }
}

impl Issue {
    /// An issue from its JSON object. Only the id is demanded; a field of the wrong type counts as
    /// absent.
    pub fn from_value(value: &Value) -> Result<Self> {
        let refused = |message: &str| Err(Error::malformed("issue", message));
        let Some(object) = value.as_object() else {
            return refused("an issue is a JSON object");
        };
        let fields = Fields(object);
        let id = match object.get("id") {
            Some(Value::Number(number)) => number.to_string(),
            _ => fields.text("id").unwrap_or_default(),
        };
        if id.is_empty() {
            return refused("the issue has no id");
        }
        Ok(Self {
            id,
            title: fields.text("title").unwrap_or_default(),
            status: fields.text("status").unwrap_or_default(),
            created: fields.text("created"),
            updated: fields.text("updated"),
            description: fields.text("description"),
            acceptance_criteria: fields.texts("acceptance_criteria"),
            context_files: fields.texts("context_files"),
            tags: fields.texts("tags"),
            dk_priority: fields
                .either("dk_priority", "priority")
                .map_or(Priority::P2, |word| Priority::clamped(&word)),
            dk_risk: fields
                .either("dk_risk", "risk")
                .map_or(Risk::Medium, |word| Risk::clamped(&word)),
            dk_size: fields
                .either("dk_size", "size")
                .map_or(Size::M, |word| Size::clamped(&word)),
            dk_tool_hint: fields
                .either("dk_tool_hint", "tool_hint")
                .filter(|hint| !hint.is_empty()),
            dk_speculate: fields.flag("dk_speculate").unwrap_or(false),
            dk_max_attempts: fields.count("dk_max_attempts").unwrap_or(3),
            dk_attempts: fields.count("dk_attempts").unwrap_or(0),
            dk_forbidden_paths: fields.texts("dk_forbidden_paths"),
            dk_required_reviewers: fields.count("dk_required_reviewers").unwrap_or(0),
            dk_parent: fields.either("dk_parent", "parent"),
            dk_estimated_tokens: fields.number("dk_estimated_tokens").unwrap_or(50_000),
            dk_apply_patch: fields.flag("dk_apply_patch").unwrap_or(true),
            dk_prompt_genome_id: fields.text("dk_prompt_genome_id"),
            dk_quality_gates: fields.object("dk_quality_gates"),
            dk_sampling: fields.object("dk_sampling"),
        })
    }

    /// What a planner's input holds of the issue: all but the keywords.
    pub fn fields(&self) -> IssueFields {
        IssueFields {
            issue_id: self.id.clone(),
            dk_priority: self.dk_priority,
            dk_risk: self.dk_risk,
            dk_size: self.dk_size,
            dk_tool_hint: self.dk_tool_hint.clone(),
            dk_attempts: self.dk_attempts,
            tags: self.tags.clone(),
            title: Some(self.title.clone()),
            description: self.description.clone(),
            keywords: None,
            extra: Map::new(),
        }
    }

    /// `fab-world` for an issue tagged `asset:world`, else `code`.
    pub fn job_type(&self) -> &'static str {
        match self.tags.iter().any(|tag| tag == "asset:world") {
            true => "fab-world",
            false => "code",
        }
    }
}

/// The fields of an issue, read leniently.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key)?.as_str().map(str::to_owned)
    }

    fn either(&self, key: &str, alias: &str) -> Option<String> {
        self.text(key).or_else(|| self.text(alias))
    }

    fn texts(&self, key: &str) -> Vec<String> {
        let values = self.0.get(key).and_then(Value::as_array);
        let texts = values.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    fn number(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64(),
        }
    }

    fn count(&self, key: &str) -> Option<u32> {
        self.number(key)?.try_into().ok()
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => Some(matches!(
                text.trim().to_ascii_lowercase().as_str(),
                "true" | "1" | "yes" | "y" | "on"
            )),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            _ => None,
        }
    }

    fn object(&self, key: &str) -> Map<String, Value> {
        let object = self.0.get(key).and_then(Value::as_object);
        object.cloned().unwrap_or_default()
    }
}
