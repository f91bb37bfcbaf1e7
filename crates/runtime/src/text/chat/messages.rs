//! Messages as a template sees them, and a last message that the model goes on with.

use amphora_error::{Error, Result};
use serde_json::{Map, Value};

/// Names that a chain of thought has had, the one that counts first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
/// Marks the end of a message in the prompt. The blank at its end shows whether the template trims.
const MARK: &str = "THE-MODEL-GOES-ON-HERE ";

/// As transformers hands messages over: what is null is not there, and a chain of thought is there by
/// every name that templates read.
pub(super) fn seen(messages: &[Value]) -> Vec<Value> {
    let message = |message: &Value| {
        let Value::Object(fields) = message else {
            return message.clone();
        };
        let stated = fields.iter().filter(|(_, value)| !value.is_null());
        let stated = stated.map(|(name, value)| (name.clone(), value.clone()));
        let reasoning = REASONING.iter().filter_map(|name| fields.get(*name));
        let reasoning = reasoning.into_iter().find(|value| !value.is_null());
        let mut seen = Map::new();
        if let Some(reasoning) = reasoning {
            seen.insert("thinking".to_owned(), reasoning.clone());
        }
        seen.extend(stated);
        if let Some(reasoning) = reasoning {
            seen.insert("reasoning_content".to_owned(), reasoning.clone());
        }
        Value::Object(seen)
    };
    messages.iter().map(message).collect()
}

/// Marks where the last message ends; the answer is its text.
pub(super) fn mark(messages: &mut [Value]) -> Result<String> {
    let nothing = || refused("the last message has no text that a model could go on with");
    let last = messages.last_mut().ok_or_else(nothing)?;
    let text = match last.get_mut("content") {
        Some(Value::Array(parts)) => {
            let texts = parts.iter_mut().filter_map(|part| part.get_mut("text"));
            texts.last()
        }
        content => content,
    };
    let Some(Value::String(text)) = text else {
        return Err(nothing());
    };
    let before = text.clone();
    text.push_str(MARK);
    Ok(before)
}

/// The prompt up to the mark, behind the last message, whose text is `text`.
pub(super) fn cut(prompt: &mut String, text: &str) -> Result<()> {
    let place = prompt.rfind(MARK.trim_end());
    let Some(place) = place.filter(|_| prompt.contains(text.trim())) else {
        return Err(refused(
            "the chat template does not write the last message as it is, so that no model can go on with it",
        ));
    };
    let is_trimmed = !prompt[place..].starts_with(MARK);
    prompt.truncate(place);
    if is_trimmed {
        prompt.truncate(prompt.trim_end().len());
    }
    Ok(())
}

fn refused(message: &str) -> Error {
    Error::usage("chat-continue", message)
}
