//! Row 30: names that are made to be printed.

use amphora_error::ErrorKind::{Limit, Malformed};
use amphora_onnx::write;

use super::sample;
use super::wire::delimited;
use crate::case::{Answer, Case, Form};

fn case(
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    hostile: fn() -> String,
) -> Case {
    Case {
        row: 30,
        name,
        writes,
        command: "inspect model.onnx --graph",
        answer,
        place,
        unopened: None,
        write: Box::new(move |root, form| {
            let name = form.pick(hostile(), "x".to_owned());
            let model = sample::edited(|graph| {
                graph.input[0].name = Some(name.clone());
                graph.node[0].input[0].clone_from(&name);
                graph.node[0].name = Some(name);
            });
            sample::save(&root.join("model.onnx"), &model)
        }),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let escaped = Answer::AcceptedOr(Malformed);
    vec![
        case(
            "name-escape-code",
            "an escape code that clears the screen",
            escaped,
            "\\u{1b}",
            || "x\u{1b}[2J\u{1b}[31m".to_owned(),
        ),
        case(
            "name-newline",
            "a line feed and `ok: verified`",
            escaped,
            "\\u{a}",
            || "x\nok: verified".to_owned(),
        ),
        case(
            "name-bidirectional",
            "a character that reverses the text",
            escaped,
            "\\u{202e}",
            || "x\u{202e}deifirev :ko".to_owned(),
        ),
        case(
            "name-10-mb",
            "10 MB",
            Answer::Refused(&[Malformed, Limit]),
            "name",
            || "x".repeat(10_000_000),
        ),
        Case {
            write: Box::new(|root, form: Form| {
                // ModelProto.domain = 4.
                let mut bytes = write::to_bytes(&sample::model());
                bytes.extend(delimited(4, &form.pick([b'x', 0xff], *b"xy")));
                Ok(fs_err::write(root.join("model.onnx"), bytes)?)
            }),
            ..case(
                "name-not-utf-8",
                "bytes that are not UTF-8",
                Answer::Refused(&[Malformed]),
                "domain",
                String::new,
            )
        },
    ]
}
