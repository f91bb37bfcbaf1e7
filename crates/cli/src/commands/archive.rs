//! `amphora archive`.

use amphora::Result;

use crate::arguments::{ArchiveArguments, ArchiveFormat};
use crate::commands::{Context, Verdict};
use crate::text::{line, size};

pub(crate) fn run(context: &Context, arguments: &ArchiveArguments) -> Result<Verdict> {
    let format = arguments.format.map(|format| match format {
        ArchiveFormat::Zip => amphora::ArchiveFormat::Zip,
        ArchiveFormat::Tar => amphora::ArchiveFormat::Tar,
        ArchiveFormat::TarGz => amphora::ArchiveFormat::TarGz,
        ArchiveFormat::TarZst => amphora::ArchiveFormat::TarZst,
    });
    let store = context.store()?;
    let archived = amphora::archive(
        &store,
        &arguments.bundle,
        format,
        arguments.output.as_deref(),
    )?;
    context.output.answer(&archived, |archived| {
        let path = archived.path.to_string_lossy();
        line(&format!("{path} ({})", size(archived.size)))
    })?;
    Ok(Verdict::Yes)
}
