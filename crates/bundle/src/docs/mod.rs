//! `docs/`: what a person needs to use the bundle, generated from the manifest.

mod example;

use amphora_error::{Result, printable};

use crate::BundleId;
use crate::compare::tensor_type;
use crate::manifest::{Graph, IoSpec, ManifestFields, Postprocessing};
use example::Example;

/// The files of `docs/` by their path inside it.
pub(crate) fn generate(fields: &ManifestFields) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut examples = Vec::new();
    for (name, graph) in &fields.spec.graphs {
        let example = Example::of(name, graph);
        files.extend(example.files()?);
        examples.push((name, graph, example));
    }
    let entry = examples
        .iter()
        .find(|(name, ..)| **name == fields.spec.entry)
        .map(|(_, _, example)| example);
    let (readme, guide) = match entry {
        Some(example) => (readme(fields, example), guide(fields, example)),
        None => Default::default(),
    };
    files.push(("README.md".to_owned(), readme.into_bytes()));
    files.push(("deployment_guide.md".to_owned(), guide.into_bytes()));
    let reference = reference(fields, &examples);
    files.push(("api_reference.md".to_owned(), reference.into_bytes()));
    Ok(files)
}

fn readme(fields: &ManifestFields, example: &Example) -> String {
    let metadata = &fields.metadata;
    let mut text = title(fields, "");
    if !metadata.description.is_empty() {
        text.push_str(&format!("{}\n\n", prose(&metadata.description)));
    }
    text.push_str("| | |\n|---|---|\n");
    let mut row = |key: &str, value: String| text.push_str(&format!("| {key} | {value} |\n"));
    row("id", fields.identity.id.to_string());
    row("exp_hash", exp_hash(fields.identity.id));
    row("version", metadata.version.to_string());
    if let Some(license) = &metadata.license {
        row("license", prose(license));
    }
    row("framework", prose(&fields.spec.framework.name));
    if let Some(architecture) = &fields.provenance.architecture {
        row("architecture", prose(architecture));
    }
    row("parameters", parameters(fields).to_string());
    if let Some(commit) = &fields.provenance.git_sha {
        row("commit", prose(commit));
    }
    text.push_str("\n## Inputs and outputs\n\n");
    io_table(&mut text, "input", &fields.spec.io.inputs);
    text.push('\n');
    io_table(&mut text, "output", &fields.spec.io.outputs);
    text.push_str("\n## Check it, run it\n\nIn the folder of the bundle:\n\n```sh\n");
    text.push_str(&format!(
        "amphora verify .\n{}\n",
        commands(fields, example)
    ));
    text.push_str(
        "`manifest.yaml` lists every file with its size and SHA-256, and `manifest.sha256` holds the \
         digest of `manifest.yaml`; `sha256sum -c manifest.sha256` checks that one without Amphora.\n\n\
         - [deployment_guide.md](deployment_guide.md): taking the bundle to another machine\n\
         - [api_reference.md](api_reference.md): every graph, its inputs, outputs and tolerances\n",
    );
    text
}

/// How many numbers were trained: the two graphs of a language model hold the same ones.
fn parameters(fields: &ManifestFields) -> u64 {
    let generation = fields.spec.generation.as_ref();
    let again = |name: &String| generation.is_some_and(|generation| generation.decode == *name);
    let graphs = fields.spec.graphs.iter();
    graphs
        .filter(|(name, _)| !again(name))
        .map(|(_, graph)| graph.parameters)
        .sum()
}

/// Commands that give the bundle what people have: text, pictures, sound.
fn served(fields: &ManifestFields) -> Vec<&'static str> {
    if fields.spec.generation.is_some() {
        return vec!["amphora generate . --prompt 'Once upon a time' --max-new-tokens 20"];
    }
    let hints = fields.spec.io.inputs.iter();
    let hints = hints.filter_map(|input| input.preprocessing.as_ref());
    let mut commands: Vec<_> = hints
        .filter_map(|hint| match hint.r#type.as_str() {
            "tokenization" => Some("amphora run . --text 'A sentence of your own'"),
            "image" | "normalization" | "resize" => Some("amphora run . --image picture.png"),
            "audio" => Some("amphora run . --audio sound.wav"),
            _ => None,
        })
        .collect();
    commands.dedup();
    commands
}

fn guide(fields: &ManifestFields, example: &Example) -> String {
    let hash = exp_hash(fields.identity.id);
    let mut text = title(fields, ": deployment");
    text.push_str(&format!(
        "## Take it along\n\n```sh\namphora archive {hash} --format tar.gz\n```\n\n\
         On the other machine:\n\n```sh\namphora import {hash}.tar.gz\namphora verify {hash}\n```\n\n\
         `import` compares every byte with the manifest before anything becomes visible; `verify` \
         replays the golden vectors on the engine that will serve.\n\n"
    ));
    text.push_str("## Formats\n\n| format | file | bytes | needs |\n|---|---|---|---|\n");
    for (name, entry) in &fields.formats {
        let needs = [
            entry.opset_version.map(|v| format!("opset {v}")),
            entry
                .minimum_ios_version
                .as_ref()
                .map(|v| format!("iOS {v}")),
            entry.hailo_version.as_ref().map(|v| format!("Hailo {v}")),
        ];
        let needs: Vec<String> = needs.into_iter().flatten().collect();
        let (file, size) = match (&entry.file, &entry.skipped) {
            (Some(file), _) => (
                format!("`{file}`"),
                entry.file_size.map_or(String::new(), |s| s.to_string()),
            ),
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or("no reason was recorded");
                (format!("skipped: {}", prose(reason)), String::new())
            }
        };
        let needs = prose(&needs.join(", "));
        text.push_str(&format!(
            "| {} | {file} | {size} | {needs} |\n",
            prose(name)
        ));
    }
    if let Some(version) = &fields.compatibility.onnxruntime_min_version {
        text.push_str(&format!(
            "\nONNX Runtime {version} or newer runs the graphs.\n"
        ));
    }
    text.push_str("\n## Run it from Python\n\n");
    text.push_str(&example.python());
    text.push_str("\n## Run it without Python\n\n```sh\n");
    text.push_str(&commands(fields, example));
    text
}

/// The rest of a block of commands, with what has to be said about them: calls with what people have, and
/// one with tensors, unless those would have to come from a file that is not there.
fn commands(fields: &ManifestFields, example: &Example) -> String {
    let served = served(fields);
    let note = example.note();
    let mut lines: Vec<String> = served.iter().map(|&command| command.to_owned()).collect();
    if served.is_empty() || note.is_empty() {
        lines.push(example.command());
        return format!("{}\n```\n\n{note}", lines.join("\n"));
    }
    format!("{}\n```\n\n", lines.join("\n"))
}

fn reference(fields: &ManifestFields, examples: &[(&String, &Graph, Example)]) -> String {
    let mut text = title(fields, ": reference");
    for (name, graph, example) in examples {
        let entry = if **name == fields.spec.entry {
            ", the bundle's entry"
        } else {
            ""
        };
        text.push_str(&format!("## Graph `{name}`{entry}\n\n"));
        text.push_str(&format!(
            "`{}`, role `{}`, opset {}, ONNX IR {}, {} parameters\n\n",
            graph.file, graph.role, graph.opset, graph.ir_version, graph.parameters
        ));
        io_table(&mut text, "input", &graph.io.inputs);
        text.push('\n');
        io_table(&mut text, "output", &graph.io.outputs);
        text.push('\n');
        preprocessing(&mut text, graph);
        postprocessing(&mut text, graph);
        if let Some(golden) = fields.golden.get(*name) {
            text.push_str(&format!(
                "Golden vectors: `{}`, {} cases by {}\n\n| output | tolerance |\n|---|---|\n",
                golden.file,
                golden.cases,
                prose(&golden.producer)
            ));
            for (output, tolerance) in &golden.tolerance {
                text.push_str(&format!("| {} | {tolerance} |\n", code(output)));
            }
            text.push('\n');
        }
        text.push_str(&format!("{}\n", example.python()));
    }
    text
}

fn preprocessing(text: &mut String, graph: &Graph) {
    for spec in &graph.io.inputs {
        let Some(how) = &spec.preprocessing else {
            continue;
        };
        text.push_str(&format!(
            "{} is made by {}",
            code(&spec.name),
            prose(&how.r#type)
        ));
        if let Some(tokenizer) = &how.tokenizer {
            text.push_str(&format!(" with `{tokenizer}`"));
        }
        text.push_str("\n\n");
    }
}

fn postprocessing(text: &mut String, graph: &Graph) {
    for spec in &graph.io.outputs {
        let steps: Vec<String> = spec
            .postprocessing
            .iter()
            .map(Postprocessing::to_string)
            .collect();
        if !steps.is_empty() {
            let (name, steps) = (code(&spec.name), steps.join(", then "));
            text.push_str(&format!("{name} becomes an answer by {steps}\n\n"));
        }
    }
}

fn title(fields: &ManifestFields, what: &str) -> String {
    let metadata = &fields.metadata;
    format!("# {} {}{what}\n\n", metadata.full_name(), metadata.version)
}

fn exp_hash(id: BundleId) -> String {
    id.exp_hash()
}

fn io_table(text: &mut String, side: &str, specs: &[IoSpec]) {
    text.push_str(&format!("| {side} | type | meaning |\n|---|---|---|\n"));
    for spec in specs {
        let meaning = spec.description.as_deref().unwrap_or("");
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            code(&spec.name),
            code(&tensor_type(spec)),
            prose(meaning)
        ));
    }
}

/// Text from outside as words: no markup, no line breaks.
fn prose(text: &str) -> String {
    let mut shown = String::new();
    for c in printable(&text.replace('\n', " ")).chars() {
        if "|`*<>[]\\".contains(c) {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// Text from outside as code.
fn code(text: &str) -> String {
    format!(
        "`{}`",
        printable(text).replace('`', "'").replace('|', "\\|")
    )
}
