//! Tokenizers and chat templates.

use amphora_runtime::text::chat::{ChatTemplate, Conversation};
use amphora_runtime::text::{Text, TextConfig, TextProcessor, TokenizerFiles};
use serde_json::json;

use super::presentable;

/// A text with what tokenizers trip over: spaces in a row, a ligature, a combining accent, an emoji.
const TEXT: &str = "  two  spaces \u{fb01} e\u{301} \u{1f600}\t<sep>\u{2581}end ";

/// A sentencepiece model: what it makes of a text are its own tokens, and they come back one by one as
/// they do all at once.
pub fn sentencepiece(bytes: &[u8]) {
    let files =
        TokenizerFiles::gather(|name| Ok((name == "spiece.model").then(|| bytes.to_vec().into())));
    let processor = files.and_then(|files| TextProcessor::new(&files, &TextConfig::default()));
    let processor = match processor {
        Ok(processor) => processor,
        Err(error) => return presentable(&error),
    };
    let pair = Text {
        text: TEXT,
        pair: Some("pair"),
    };
    let encoded = match processor.encode(&[TEXT.into(), pair]) {
        Ok(encoded) => encoded,
        Err(error) => return presentable(&error),
    };
    let ids = [encoded.ids(0), encoded.ids(1)].concat();
    assert!(ids.iter().all(|id| (*id as usize) < processor.vocab_size()));
    let whole = match processor.decode(&ids, false) {
        Ok(whole) => whole,
        Err(error) => return presentable(&error),
    };
    let mut stream = processor.stream(false);
    let mut text = String::new();
    for id in ids {
        match stream.push(id) {
            Ok(fresh) => text += &fresh,
            Err(error) => return presentable(&error),
        }
    }
    match stream.finish() {
        Ok(rest) => assert_eq!(text + &rest, whole),
        Err(error) => presentable(&error),
    }
}

/// A chat template: it renders the same twice, or is refused.
pub fn chat_template(bytes: &[u8]) {
    let files = TokenizerFiles::gather(|name| {
        Ok((name == "chat_template.jinja").then(|| bytes.to_vec().into()))
    });
    let template = match files.and_then(|files| ChatTemplate::read(&files)) {
        Ok(Some(template)) => template,
        Ok(None) => return,
        Err(error) => return presentable(&error),
    };
    let conversation = Conversation {
        messages: vec![
            json!({"role": "system", "content": "Be terse."}),
            json!({"role": "user", "content": TEXT}),
            json!({"role": "assistant", "content": "<think>\nwhy\n</think>\n\nyes", "tool_calls": [
                {"function": {"name": "f", "arguments": {"x": [1, 2.5, null]}}},
            ]}),
        ],
        tools: vec![json!({"type": "function", "function": {"name": "f"}})],
        add_generation_prompt: true,
        ..Conversation::default()
    };
    match template.render(&conversation) {
        Ok(prompt) => assert_eq!(Ok(prompt), template.render(&conversation).map_err(|_| ())),
        Err(error) => presentable(&error),
    }
}
