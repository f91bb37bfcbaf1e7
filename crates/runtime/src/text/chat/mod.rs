//! Conversations as the prompts that a language model was trained on.
//!
//! A model brings a template (`chat_template` in `tokenizer_config.json`, or `chat_template.jinja`) that
//! turns messages into one text with the model's own marks around them.
//!
//! ```
//! use amphora_runtime::text::TokenizerFiles;
//! use amphora_runtime::text::chat::{ChatTemplate, Conversation};
//! use serde_json::json;
//!
//! let template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}";
//! let files = TokenizerFiles::gather(|name| {
//!     Ok((name == "chat_template.jinja").then(|| template.into()))
//! })?;
//! let conversation = Conversation {
//!     messages: vec![json!({"role": "user", "content": "Hello"})],
//!     ..Conversation::default()
//! };
//! let template = ChatTemplate::read(&files)?.expect("the file is there");
//! assert_eq!(template.render(&conversation)?, "<user>Hello\n");
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! Templates are Jinja, and they are rendered as transformers renders them: the same treatment of white
//! space, Python's methods of strings and dictionaries, `tojson` as Python writes it. What a template
//! cannot have here is the clock: `strftime_now` writes [`Conversation::date`], and is not defined without
//! one, so that the same conversation is the same prompt tomorrow. Templates that ask whether it is there
//! then take their own fixed date.
//!
//! A template is a program of a stranger. It sees nothing but the conversation, it can call nothing, and
//! the steps it may take and the text it may write are bounded. The memory that a single expression takes
//! is not: [`crate::isolate::render`] renders in a process under limits.

mod environment;
mod json;
mod messages;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;

use amphora_error::{Error, Result, quoted};
use minijinja::ErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::environment::{DATE_FUNCTION, FUEL, Raised, date, environment, without_generation_marks};
use super::TokenizerFiles;
use super::special::TokenizerConfig;
use crate::engine::{panic_text, shortened};

/// Room for calls inside each other, in bytes: a list can be nested once for every few steps, and it is
/// dropped, compared and printed level by level.
const STACK_BYTES: usize = 256 << 20;
/// Longest template, in bytes.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// Longest prompt, in bytes.
const MAX_PROMPT_BYTES: usize = 16 << 20;
/// The template that is meant when a conversation names none.
const DEFAULT: &str = "default";
/// The template for conversations with tools, where a model has one.
const TOOL_USE: &str = "tool_use";

/// The templates of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTemplate {
    /// By name; a single one is called `default`.
    templates: BTreeMap<String, String>,
    /// Special tokens by their part, for example `eos_token`.
    special: BTreeMap<String, String>,
}

/// What a template makes a prompt of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// The messages, oldest first: objects with `role` and `content`, and whatever else the template
    /// knows (`tool_calls`, `reasoning_content`).
    pub messages: Vec<Value>,
    /// Descriptions of functions that the model may call, as JSON Schema.
    pub tools: Vec<Value>,
    /// Whether the prompt ends with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// Whether the prompt ends within the last message, with the last of its text, for the model to go on
    /// with it.
    pub continue_final_message: bool,
    /// The day that a template is told when it asks, `2026-11-21`, or the moment, `2026-11-21T18:30:00`.
    pub date: Option<String>,
    /// The template, where a model has several; `tool_use` when there are tools and the model has it,
    /// else `default`.
    pub template: Option<String>,
    /// Further variables, for example `enable_thinking`; they win over all others.
    pub variables: Map<String, Value>,
}

impl ChatTemplate {
    /// The templates in a model's files: `chat_template.jinja`, else `chat_template` of
    /// `tokenizer_config.json`, which holds one or a list with names; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when a file is broken or a template is no Jinja, naming its
    /// line; [`amphora_error::ErrorKind::Limit`] for one of more than 1 MiB.
    pub fn read(files: &TokenizerFiles) -> Result<Option<Self>> {
        let config = TokenizerConfig::read(files)?;
        let (file, templates) = match files.get("chat_template.jinja") {
            Some(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| {
                    malformed("the template is not UTF-8").in_file("chat_template.jinja")
                })?;
                let templates = BTreeMap::from([(DEFAULT.to_owned(), text.to_owned())]);
                ("chat_template.jinja", templates)
            }
            None => {
                let file = "tokenizer_config.json";
                let named = named(config.field("chat_template"));
                (file, named.map_err(|error| error.in_file(file))?)
            }
        };
        if templates.is_empty() {
            return Ok(None);
        }
        let special = config
            .named_roles()
            .map(|(part, token)| (part.to_owned(), token.content.clone()))
            .collect();
        let this = Self { templates, special };
        this.check().map_err(|error| error.in_file(file))?;
        Ok(Some(this))
    }

    /// The names of the templates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }

    /// The prompt for a conversation.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when the template itself refuses the conversation, in its words;
    /// when the conversation names a template that is not there, has no date and the template asks for it,
    /// or cannot be gone on with; [`amphora_error::ErrorKind::Malformed`] when
    /// the template does what Jinja does not allow; [`amphora_error::ErrorKind::Limit`] when it takes too many
    /// steps or writes more than 16 MiB.
    pub fn render(&self, conversation: &Conversation) -> Result<String> {
        let (name, source) = self.chosen(conversation)?;
        let source = without_generation_marks(source);
        let mut context = Map::new();
        for (part, token) in &self.special {
            context.insert(part.clone(), token.clone().into());
        }
        let list = |values: &[Value]| match values.is_empty() {
            true => Value::Null,
            false => Value::Array(values.to_vec()),
        };
        let mut messages = messages::seen(&conversation.messages);
        let continued = match conversation.continue_final_message {
            true if conversation.add_generation_prompt => {
                return Err(Error::usage(
                    "chat-continue",
                    "a prompt ends within the last message or with the beginning of an answer, not with both",
                ));
            }
            true => Some(messages::mark(&mut messages)?),
            false => None,
        };
        context.insert("messages".into(), messages.into());
        context.insert("tools".into(), list(&conversation.tools));
        context.insert("documents".into(), Value::Null);
        context.insert(
            "add_generation_prompt".into(),
            conversation.add_generation_prompt.into(),
        );
        context.extend(conversation.variables.clone());
        let now = match conversation.date.as_deref() {
            Some(text) => Some(date(text).ok_or_else(|| {
                Error::usage("chat-date", "this is no date")
                    .expected("2026-11-21, or 2026-11-21T18:30:00")
                    .found(quoted(text).to_string())
            })?),
            None => None,
        };
        let work = || -> Result<Vec<u8>> {
            let mut prompt = Bounded(Vec::new());
            let environment = environment(now);
            let template = environment.template_from_named_str(name, &source);
            let context = minijinja::Value::from(minijinja::value::Serde(&context));
            let rendered = template.and_then(|it| it.render_captured_to(context, &mut prompt));
            rendered.map_err(|error| explained(&error))?;
            Ok(prompt.0)
        };
        let prompt = with_stack(work)?;
        let mut prompt = String::from_utf8_lossy(&prompt).into_owned();
        if let Some(text) = continued {
            messages::cut(&mut prompt, &text)?;
        }
        Ok(prompt)
    }

    fn chosen(&self, conversation: &Conversation) -> Result<(&str, &str)> {
        let wanted = match &conversation.template {
            Some(name) => name.as_str(),
            None if !conversation.tools.is_empty() && self.templates.contains_key(TOOL_USE) => {
                TOOL_USE
            }
            None => DEFAULT,
        };
        let found = self.templates.get_key_value(wanted);
        found
            .map(|(name, source)| (name.as_str(), source.as_str()))
            .ok_or_else(|| {
                Error::usage(
                    "chat-template-name",
                    "the model has no chat template of this name",
                )
                .expected(
                    self.names()
                        .map(|name| quoted(name).to_string())
                        .collect::<Vec<_>>()
                        .join(", "),
                )
                .found(quoted(wanted).to_string())
            })
    }

    /// Reads every template once, so that a broken one is found before it is needed.
    fn check(&self) -> Result<()> {
        for (name, source) in &self.templates {
            if source.len() > MAX_TEMPLATE_BYTES {
                return Err(
                    Error::limit("chat-template-size", "the chat template is too long")
                        .expected(format!("at most {MAX_TEMPLATE_BYTES} bytes"))
                        .found(format!("{} bytes", source.len())),
                );
            }
            let environment = environment(None);
            let source = without_generation_marks(source);
            let template = environment.template_from_named_str(name, &source);
            template.map_err(|error| explained(&error))?;
        }
        Ok(())
    }
}

/// Runs `work` where there is room for deep calls; a panic in it is an error.
fn with_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK_BYTES);
        let spawned = builder.spawn_scoped(scope, work).map_err(|source| {
            Error::limit(
                "chat-template-stack",
                "there is no memory to render the chat template",
            )
            .caused_by(source)
        })?;
        spawned.join().unwrap_or_else(|panic| {
            let found = shortened(panic_text(&*panic));
            Err(malformed("the chat template broke off").found(found))
        })
    })
}

/// The template of `tokenizer_config.json`, or its list of templates with names.
fn named(value: Option<&Value>) -> Result<BTreeMap<String, String>> {
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::String(source)) => Ok(BTreeMap::from([(DEFAULT.to_owned(), source.clone())])),
        Some(Value::Array(list)) => {
            let entry = |entry: &Value| {
                let (name, source) = (entry["name"].as_str()?, entry["template"].as_str()?);
                Some((name.to_owned(), source.to_owned()))
            };
            let entries: Option<BTreeMap<String, String>> = list.iter().map(entry).collect();
            entries.ok_or_else(|| malformed("a chat template has no name, or no text"))
        }
        Some(_) => Err(malformed(
            "'chat_template' is neither a text nor a list of them",
        )),
    }
}

fn malformed(message: &str) -> Error {
    Error::malformed("chat-template", message)
}

fn explained(error: &minijinja::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(here) = cause {
        if let Some(raised) = here.downcast_ref::<Raised>() {
            return Error::usage("chat-refused", "the chat template refuses the conversation")
                .found(shortened(&raised.0));
        }
        // Only the writer of the prompt gives one.
        if here.is::<io::Error>() {
            return Error::limit(
                "chat-prompt-size",
                "the chat template writes too long a prompt",
            )
            .expected(format!("at most {MAX_PROMPT_BYTES} bytes"));
        }
        cause = here.source();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return Error::limit(
            "chat-template-steps",
            "the chat template takes too many steps",
        )
        .expected(format!("at most {FUEL}"));
    }
    let asked = error
        .detail()
        .is_some_and(|text| text.contains(DATE_FUNCTION));
    if error.kind() == ErrorKind::UnknownFunction && asked {
        return Error::usage("chat-date", "the chat template asks for the date")
            .hint("say which: --date 2026-11-21");
    }
    let place = match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!("chat template {}, line {line}", quoted(name)),
        _ => "chat template".to_owned(),
    };
    malformed("the chat template cannot be rendered")
        .at(place)
        .found(shortened(&error.to_string()))
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_PROMPT_BYTES - self.0.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
