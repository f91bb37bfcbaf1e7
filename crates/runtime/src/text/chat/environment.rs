//! What a template can use, as in transformers' environment.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter, filters};
use time::format_description::parse_strftime_owned;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use super::json;

/// Steps that a template may take; a conversation of a thousand messages needs a fifth.
pub(super) const FUEL: u64 = 1_000_000;

pub(super) fn environment<'source>(date: Option<OffsetDateTime>) -> Environment<'source> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(method);
    environment.set_formatter(write);
    environment.add_filter("tojson", json::tojson);
    for name in ["length", "count"] {
        environment.add_filter(name, length);
    }
    for name in ["default", "d"] {
        environment.add_filter(name, default);
    }
    environment.add_filter("string", string);
    environment.add_function("raise_exception", |message: String| {
        Err::<Value, _>(
            Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)),
        )
    });
    if let Some(date) = date {
        environment.add_function(DATE_FUNCTION, move |format: &str| {
            let text = parse_strftime_owned(format).map(|format| date.format(&format));
            text.ok().and_then(Result::ok).ok_or_else(|| {
                Error::new(ErrorKind::InvalidOperation, "the date cannot be written so")
            })
        });
    }
    environment
}

/// The function that gives transformers' templates the clock.
pub(super) const DATE_FUNCTION: &str = "strftime_now";

/// A day, `2026-11-21`, or a moment of it, `2026-11-21T18:30:00`.
pub(super) fn date(text: &str) -> Option<OffsetDateTime> {
    let moment = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let day = format_description!("[year]-[month]-[day]");
    let moment = PrimitiveDateTime::parse(text, &moment);
    let parsed = moment.or_else(|_| Date::parse(text, &day).map(Date::midnight));
    parsed.ok().map(PrimitiveDateTime::assume_utc)
}

/// A float as Python writes it.
fn float(value: &Value) -> Option<String> {
    let is_float = value.kind() == ValueKind::Number && !value.is_integer();
    let number = f64::try_from(value.clone()).ok().filter(|_| is_float)?;
    Some(json::float(number))
}

fn write(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match float(value) {
        Some(text) => output.write_str(&text).map_err(Error::from),
        None => escape_formatter(output, state, value),
    }
}

fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    match float(value) {
        Some(text) => Ok(text.into()),
        None => filters::string(state, value),
    }
}

/// Jinja counts nothing in what is not there.
fn length(value: &Value) -> Result<usize, Error> {
    match value.is_undefined() {
        true => Ok(0),
        false => filters::length(value),
    }
}

/// Jinja's parameters have names.
fn default(
    state: &State<'_, '_>,
    value: &Value,
    mut arguments: Rest<Value>,
    named: Kwargs,
) -> Result<Value, Error> {
    let instead: Option<Value> = named.get("default_value")?;
    let boolean: Option<Value> = named.get("boolean")?;
    named.assert_all_used()?;
    if arguments.is_empty() && (instead.is_some() || boolean.is_some()) {
        arguments.push(instead.unwrap_or_else(|| "".into()));
    }
    arguments.extend(boolean);
    filters::default(state, value, arguments)
}

/// Methods of Python's values that templates call.
fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if let (Some(text), [argument]) = (value.as_str(), arguments)
        && let Some(argument) = argument.as_str()
    {
        match method {
            "removeprefix" => return Ok(text.strip_prefix(argument).unwrap_or(text).into()),
            "removesuffix" => return Ok(text.strip_suffix(argument).unwrap_or(text).into()),
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
}

/// transformers marks what the model itself wrote with a block that changes nothing.
pub(super) fn without_generation_marks(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        let Some((inside, after)) = tag.split_once("%}") else {
            break;
        };
        let word = inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let instead = match word {
            "generation" => inside.replace("generation", "if true"),
            "endgeneration" => inside.replace("endgeneration", "endif"),
            _ => inside.to_owned(),
        };
        text += before;
        text += "{%";
        text += &instead;
        text += "%}";
        rest = after;
    }
    text + rest
}

/// What a template said when it refused.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}
