//! `amphora layout`.

use amphora::{Layout, Result};

use crate::arguments::{LayoutArguments, LayoutName};
use crate::commands::{Context, Verdict};
use crate::text::{counted, row, table};

pub(crate) fn run(context: &Context, arguments: &LayoutArguments) -> Result<Verdict> {
    let bundle = context.store()?.resolve(&arguments.bundle)?;
    let layout = match arguments.layout {
        LayoutName::Cyntra => Layout::Cyntra,
    };
    let laid_out = amphora::layout(&bundle, layout, &arguments.out)?;
    context.output.answer(&laid_out, |laid_out| {
        let mut rows = vec![
            row(["✓", &counted(laid_out.files.len(), "file")]),
            row(["path", &laid_out.path.to_string_lossy()]),
        ];
        rows.extend(laid_out.files.iter().map(|name| row(["file", name])));
        table(0, &rows)
    })?;
    Ok(Verdict::Yes)
}
