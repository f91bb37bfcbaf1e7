//! `amphora doctor`.

use amphora::{EngineReport, Result};
use serde::Serialize;

use crate::commands::{Context, Verdict};
use crate::environment;
use crate::text::{row, table};

#[derive(Serialize)]
struct Doctor {
    version: &'static str,
    platform: String,
    store: String,
    home: Option<String>,
    engines: Vec<EngineReport>,
}

pub(crate) fn run(context: &Context) -> Result<Verdict> {
    let answer = Doctor {
        version: env!("CARGO_PKG_VERSION"),
        platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        store: context.store.to_string_lossy().into_owned(),
        home: environment::home().map(|home| home.to_string_lossy().into_owned()),
        engines: amphora::doctor(&environment::ort_location()),
    };
    context.output.answer(&answer, words)?;
    Ok(Verdict::Yes)
}

fn words(answer: &Doctor) -> String {
    let mut rows = vec![
        row(["amphora", answer.version]),
        row(["platform", &answer.platform]),
        row(["store", &answer.store]),
        row(["home", answer.home.as_deref().unwrap_or("unknown")]),
    ];
    for engine in &answer.engines {
        let state = match (&engine.version, &engine.reason) {
            (Some(version), _) => format!("✓ {version}"),
            (None, reason) => format!("✗ {}", reason.as_deref().unwrap_or("not found")),
        };
        rows.push(row([engine.name, &state]));
        for library in &engine.libraries {
            let path = library.path.to_string_lossy();
            let used = if library.in_use { "in use" } else { "not used" };
            let reason = library.reason.as_deref().unwrap_or(used);
            rows.push(row(["", &path, reason]));
        }
    }
    table(0, &rows)
}
