//! `amphora contract`.

use amphora::{ModelKind, Result, json};

use crate::arguments::ContractArguments;
use crate::commands::{Context, Verdict};
use crate::text::counted;

pub(crate) fn run(context: &Context, arguments: ContractArguments) -> Result<Verdict> {
    let subject = &arguments.subject;
    if let Some(expected) = &arguments.check {
        let check = amphora::check_contract(subject, expected)?;
        context.output.answer(&check, |check| {
            let mark = if check.passed { "✓" } else { "✗" };
            format!(
                "{mark} {} compared\n",
                counted(check.checked.len(), "contract")
            )
        })?;
        return Ok(check.verdict().map_or(Verdict::Yes, Verdict::No));
    }
    if let Some(out) = &arguments.out {
        amphora::prepare_directory(out)?;
    }
    if let Some(schema) = amphora::io_schema(subject, arguments.signature.as_deref())? {
        match (&arguments.out, schema.kind) {
            (Some(out), ModelKind::SavedModel) => {
                let signature = arguments.signature.as_deref();
                let path = amphora::write_manifest(subject, signature, out)?;
                let text = crate::text::line(&path.to_string_lossy());
                context.output.answer(&schema, |_| text)?;
            }
            (Some(out), _) => {
                let path = out.join("io_schema.json");
                amphora::write_file(&path, &json::to_pretty_bytes(&schema)?)?;
                let text = crate::text::line(&path.to_string_lossy());
                context.output.answer(&schema, |_| text)?;
            }
            (None, _) => context.output.document(&schema)?,
        }
        return Ok(Verdict::Yes);
    }
    if subject.is_dir() {
        let out = arguments.out.as_deref().unwrap_or(subject);
        let written = amphora::write_contracts(subject, out, context.now()?.as_str())?;
        context.output.answer(&written, |written| {
            let files = written.files.iter().map(|path| path.to_string_lossy());
            files.map(|path| crate::text::line(&path)).collect()
        })?;
        return Ok(Verdict::Yes);
    }
    let contract = amphora::contract(subject)?;
    match &arguments.out {
        Some(out) => {
            let name = subject.file_stem().unwrap_or_default().to_string_lossy();
            let path = out.join(format!("io_contract_{name}.json"));
            amphora::write_file(&path, &json::to_pretty_bytes(&contract)?)?;
            context
                .output
                .answer(&contract, |_| crate::text::line(&path.to_string_lossy()))?;
        }
        None => context.output.document(&contract)?,
    }
    Ok(Verdict::Yes)
}
