//! From what a text follows to the tokens that a model reads.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use amphora_error::{Error, Result};
use amphora_files::{OpenedFile, json};
use amphora_runtime::text::chat::{ChatTemplate, Conversation};
use amphora_runtime::text::{Text, TextConfig, TextProcessor, TokenizerFiles};
use serde_json::{Value, json};

use crate::Engines;

/// Largest file of a prompt, in bytes.
const MAX_PROMPT_BYTES: u64 = 16 << 20;

/// What a text follows.
#[derive(Debug, Clone)]
pub enum PromptText {
    /// The beginning of the text.
    Plain(String),
    /// A file that holds the beginning of the text, to its last byte.
    File(PathBuf),
    /// A JSON file that holds a conversation: a list of messages, `[{"role": "user", "content": "..."}]`,
    /// or an object with `messages`, where they are wanted `continue_final_message` (the model goes on
    /// with the last message), `add_generation_prompt`, `tools`, and other variables of the template. The
    /// model's chat template makes a prompt of it.
    Messages(PathBuf),
}

/// That prompts are what a user says, to be put into the model's chat template.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// What the conversation begins with, in the part of the system.
    pub system: Option<String>,
}

impl PromptText {
    fn is_chat(&self, chat: Option<&Chat>) -> bool {
        chat.is_some() || matches!(self, Self::Messages(_))
    }

    /// The text that was given or is in the file.
    fn read(&self) -> Result<Cow<'_, str>> {
        let (Self::File(path) | Self::Messages(path)) = self else {
            let Self::Plain(text) = self else {
                return Ok(Cow::Borrowed(""));
            };
            return Ok(Cow::Borrowed(text));
        };
        let bytes = OpenedFile::open(path)?.contents(MAX_PROMPT_BYTES)?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|source| {
            Error::malformed("prompt-utf8", "the prompt is not UTF-8 text")
                .in_file(path)
                .at(format!("byte {}", source.utf8_error().valid_up_to()))
        })?;
        Ok(Cow::Owned(text))
    }

    fn conversation(&self, asked: &Asked<'_>) -> Result<Conversation> {
        let date = asked.date.map(str::to_owned);
        if let Self::Messages(path) = self {
            return Ok(Conversation {
                date,
                ..conversation(path)?
            });
        }
        let chat = asked.chat;
        let system = chat.and_then(|chat| chat.system.as_ref());
        let system = system.map(|text| json!({"role": "system", "content": text}));
        let user = json!({"role": "user", "content": self.read()?});
        Ok(Conversation {
            messages: system.into_iter().chain([user]).collect(),
            add_generation_prompt: true,
            date,
            ..Conversation::default()
        })
    }
}

/// What a command says of all its prompts.
#[derive(Clone, Copy)]
pub(super) struct Asked<'r> {
    pub(super) chat: Option<&'r Chat>,
    /// See [`Conversation::date`].
    pub(super) date: Option<&'r str>,
    /// Renders templates.
    pub(super) engines: &'r Engines,
}

/// The conversation in a file.
fn conversation(path: &Path) -> Result<Conversation> {
    let wrong = |message: &str| {
        Error::malformed("messages", message)
            .in_file(path)
            .expected("a list of messages, or an object with 'messages'")
    };
    let mut whole = match json::read(path)? {
        Value::Array(messages) => {
            let mut object = serde_json::Map::new();
            object.insert("messages".into(), messages.into());
            object
        }
        Value::Object(object) => object,
        _ => return Err(wrong("the file is no conversation")),
    };
    let mut list = |key: &str| match whole.remove(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(wrong("the conversation has something else than a list").at(key)),
    };
    let (messages, tools) = (list("messages")?, list("tools")?);
    if !messages.iter().all(Value::is_object) || messages.is_empty() {
        return Err(wrong(
            "the conversation has no messages, or one that is no object",
        ));
    }
    let mut flag = |key: &str| match whole.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => Err(wrong("the conversation has something else than true or false").at(key)),
    };
    let continue_final_message = flag("continue_final_message")?.unwrap_or(false);
    let begun = flag("add_generation_prompt")?;
    Ok(Conversation {
        messages,
        tools,
        add_generation_prompt: begun.unwrap_or(!continue_final_message),
        continue_final_message,
        variables: whole,
        ..Conversation::default()
    })
}

/// Makes tokens of prompts.
pub(super) struct Reader {
    /// For conversations: the template writes the tokens that frame a text.
    bare: Option<TextProcessor>,
    /// For everything else.
    framed: Option<TextProcessor>,
    template: Option<ChatTemplate>,
}

impl Reader {
    /// What these prompts need.
    pub(super) fn new(
        files: &TokenizerFiles,
        config: &TextConfig,
        prompts: &[PromptText],
        chat: Option<&Chat>,
    ) -> Result<Self> {
        let any = |wanted: bool| prompts.iter().any(|prompt| prompt.is_chat(chat) == wanted);
        let (mut bare, mut template) = (None, None);
        if any(true) {
            let config = TextConfig {
                add_special_tokens: Some(false),
                ..config.clone()
            };
            bare = Some(TextProcessor::new(files, &config)?);
            template = ChatTemplate::read(files)?;
        }
        let framed = match any(false) || bare.is_none() {
            true => Some(TextProcessor::new(files, config)?),
            false => None,
        };
        Ok(Self {
            bare,
            framed,
            template,
        })
    }

    /// The tokenizer.
    pub(super) fn text(&self) -> Result<&TextProcessor> {
        let any = self.bare.as_ref().or(self.framed.as_ref());
        any.ok_or_else(|| Error::internal("tokenizer", "no tokenizer was made"))
    }

    pub(super) fn tokens(&self, prompt: &PromptText, asked: &Asked<'_>) -> Result<Vec<u32>> {
        let (text, processor) = match prompt.is_chat(asked.chat) {
            true => {
                let template = self.template.as_ref().ok_or_else(|| {
                    Error::not_found("chat-template-missing", "the bundle has no chat template")
                        .expected("chat_template.jinja, or chat_template in tokenizer_config.json")
                        .hint("write the prompt as the model expects it, without --chat")
                })?;
                let conversation = prompt.conversation(asked)?;
                let rendered = asked.engines.render(template, &conversation)?;
                (Cow::Owned(rendered), &self.bare)
            }
            false => (prompt.read()?, &self.framed),
        };
        let processor = match processor {
            Some(processor) => processor,
            None => self.text()?,
        };
        let encoded = processor.encode(&[Text::from(&*text)])?;
        Ok(encoded.ids(0).to_vec())
    }
}
