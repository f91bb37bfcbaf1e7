//! `amphora export`.

use amphora::{ExportRequest, Exported, Result};

use crate::arguments::ExportArguments;
use crate::commands::{Context, Verdict};
use crate::text::{row, size, specs, table};

pub(crate) fn run(context: &Context, arguments: ExportArguments) -> Result<Verdict> {
    let request = ExportRequest {
        checkpoint: arguments.checkpoint,
        config: arguments.config,
        output: arguments.output,
        opset: arguments.opset,
        link: arguments.link,
        external_data: arguments.external_data,
    };
    let exported = amphora::export(&request)?;
    context.output.answer(&exported, words)?;
    Ok(Verdict::Yes)
}

fn words(exported: &Exported) -> String {
    let several = exported.graphs.len() > 1;
    let graphs = exported.graphs.iter().map(|graph| {
        let contract = &graph.contract;
        let mut rows = Vec::new();
        if several {
            rows.push(row(["graph", graph.role]));
        }
        rows.extend([
            row(["file", &graph.path.to_string_lossy()]),
            row(["size", &size(graph.size)]),
            row(["model", exported.model_type]),
            row(["opset", &contract.opset.to_string()]),
            row(["parameters", &contract.parameters.to_string()]),
        ]);
        for file in &graph.external_files {
            rows.push(row(["weights", file]));
        }
        rows.extend(specs("input", &contract.inputs));
        rows.extend(specs("output", &contract.outputs));
        table(0, &rows)
    });
    graphs.collect::<Vec<_>>().join("\n")
}
