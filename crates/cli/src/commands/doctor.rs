//! `amphora doctor`.

use amphora::Result;
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
}

pub(crate) fn run(context: &Context) -> Result<Verdict> {
    let answer = Doctor {
        version: env!("CARGO_PKG_VERSION"),
        platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        store: context.store.to_string_lossy().into_owned(),
        home: environment::home().map(|home| home.to_string_lossy().into_owned()),
    };
    context.output.answer(&answer, |answer| {
        table(
            0,
            &[
                row(["version", answer.version]),
                row(["platform", &answer.platform]),
                row(["store", &answer.store]),
                row(["home", answer.home.as_deref().unwrap_or("unknown")]),
            ],
        )
    })?;
    Ok(Verdict::Yes)
}
