//! `amphora run`.

use std::path::PathBuf;

use amphora::{Answer, Error, InputValue, Result, RunRequest, Subject, Tensor, WavFormat, quoted};

use crate::arguments::RunArguments;
use crate::commands::{Context, Verdict};
use crate::text::{row, table};

/// Elements of an output that are shown to people.
const SHOWN: usize = 8;

pub(crate) fn run(context: &Context, arguments: &RunArguments) -> Result<Verdict> {
    let request = RunRequest {
        subject: Subject::resolve(&context.store()?, &arguments.subject)?,
        inputs: arguments
            .input
            .iter()
            .map(|text| input(text))
            .collect::<Result<_>>()?,
        texts: texts(&arguments.text, &arguments.text_pair)?,
        images: arguments.image.clone(),
        audio: arguments.audio.clone(),
        engines: context.engines(arguments.engine)?,
        top_k: arguments.top_k,
        verify: arguments.verify,
    };
    let answer = amphora::run(request)?;
    for warning in &answer.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    if let Some(path) = &arguments.audio_out {
        let file = answer.sound()?.to_wav(WavFormat::Float32)?;
        amphora::write_file(path, &file)?;
    }
    context.output.answer(&answer, words)?;
    Ok(Verdict::Yes)
}

/// Texts with their second texts, where there are any.
fn texts(texts: &[String], pairs: &[String]) -> Result<Vec<(String, Option<String>)>> {
    if !pairs.is_empty() && pairs.len() != texts.len() {
        return Err(
            Error::usage("text-pairs", "there is not one second text for each text")
                .expected(format!("{} times --text-pair", texts.len()))
                .found(format!("{} times", pairs.len())),
        );
    }
    let pairs = pairs.iter().cloned().map(Some);
    let pairs = pairs.chain(std::iter::repeat(None));
    Ok(texts.iter().cloned().zip(pairs).collect())
}

/// `NAME=FILE.npy`, `NAME=@FILE` or `NAME=JSON`.
fn input(text: &str) -> Result<(String, InputValue)> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Error::usage(
            "input-form",
            format!("{} does not name an input", quoted(text)),
        )
        .expected("NAME=FILE.npy, NAME=JSON or NAME=@FILE.json")
    })?;
    let value = match value.strip_prefix('@') {
        Some(path) => InputValue::JsonFile(PathBuf::from(path)),
        None if value.ends_with(".npy") => InputValue::Npy(PathBuf::from(value)),
        None => InputValue::Json(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}

pub(super) fn words(answer: &Answer) -> String {
    let mut rows = Vec::new();
    for (name, tensor) in answer.outputs.iter() {
        rows.push(row([name, &form(tensor), &values(tensor)]));
    }
    for (name, tensor) in &answer.postprocessed {
        let name = format!("→ {name}");
        rows.push(row([&name, &form(tensor), &values(tensor)]));
    }
    if let Some(embedding) = &answer.embedding {
        rows.push(row(["→ embedding", &form(embedding), &values(embedding)]));
    }
    let mut text = table(0, &rows);
    for (name, sound) in &answer.sounds {
        let sound = format!(
            "sound of {} Hz, channels: {}",
            sound.sample_rate, sound.channels
        );
        text.push_str(&table(0, &[row([name.as_str(), &sound])]));
    }
    for (output, cases) in answer.labels.iter().flatten() {
        for (case, labels) in cases.iter().enumerate() {
            let best: Vec<String> = labels
                .iter()
                .map(|label| format!("{} {:.1} %", label.label, 100.0 * label.probability))
                .collect();
            let place = format!("{output}[{case}]");
            text.push_str(&table(0, &[row([&place, &best.join(", ")])]));
        }
    }
    if answer.nonfinite > 0 {
        text.push_str(&format!(
            "{} values are NaN or infinite\n",
            answer.nonfinite
        ));
    }
    text
}

/// Element type and shape.
fn form(tensor: &Tensor) -> String {
    let shape: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
    format!("{} [{}]", tensor.dtype(), shape.join(", "))
}

/// The first elements.
fn values(tensor: &Tensor) -> String {
    let json = tensor.to_json();
    let data = json["data"].as_array();
    let mut shown: Vec<String> = data
        .into_iter()
        .flatten()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if tensor.len() > SHOWN {
        shown.push("...".to_owned());
    }
    shown.join(" ")
}
