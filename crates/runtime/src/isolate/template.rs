//! A chat template in a process of its own: it is a program too.

use amphora_error::{Error, Result};

use super::parent::{Process, Who, limits};
use super::wire::{Reader, Writer};
use super::{Isolation, RENDER};
use crate::text::chat::{ChatTemplate, Conversation};

/// What [`ChatTemplate::render`] answers, from a process that ends with the answer.
///
/// # Errors
///
/// Those of [`ChatTemplate::render`]; [`amphora_error::ErrorKind::Limit`] when the template takes more
/// memory than it may, and [`amphora_error::ErrorKind::Busy`] when it takes more time.
pub fn render(
    isolation: &Isolation,
    template: &ChatTemplate,
    conversation: &Conversation,
) -> Result<String> {
    let all = serde_json::to_vec(&(template, conversation)).map_err(|source| {
        Error::internal("isolated-template", "a conversation cannot be written").caused_by(source)
    })?;
    let mut process = Process::start(isolation, Who::Template)?;
    let mut request = Writer::default();
    request.number(RENDER);
    limits(&mut request, isolation);
    request.bytes(&all);
    process
        .exchange(request, "rendering the conversation")?
        .text()
}

/// The child's side.
pub(super) fn rendered(request: &mut Reader, answer: &mut Writer) -> Result<()> {
    let all = request.bytes()?;
    let (template, conversation): (ChatTemplate, Conversation) = serde_json::from_slice(&all)
        .map_err(|source| {
            Error::internal("isolated-template", "a conversation cannot be read").caused_by(source)
        })?;
    answer.text(&template.render(&conversation)?);
    Ok(())
}
