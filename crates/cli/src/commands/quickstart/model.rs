//! `amphora quickstart --example model`: any trained model becomes a bundle that proves itself.

use std::path::Path;

use amphora::{
    Answer, Error, ExportRequest, InputValue, PackRequest, Packed, Result, RunRequest, Store,
    Subject, VerifyRequest,
};
use serde::Serialize;

use crate::arguments::QuickstartArguments;
use crate::commands::{Context, Verdict};
use crate::text::line;

use super::{Step, Steps, times};

/// The files of the example, by name.
const EXAMPLE: [(&str, &[u8]); 5] = [
    (
        "model.pt",
        include_bytes!("../../../../../examples/conv2d_fsq/model.pt"),
    ),
    (
        "config.json",
        include_bytes!("../../../../../examples/conv2d_fsq/config.json"),
    ),
    (
        "labels.json",
        include_bytes!("../../../../../examples/conv2d_fsq/labels.json"),
    ),
    (
        "metrics.json",
        include_bytes!("../../../../../examples/conv2d_fsq/metrics.json"),
    ),
    (
        "windows.npy",
        include_bytes!("../../../../../examples/conv2d_fsq/windows.npy"),
    ),
];
/// The input of the example's model.
const INPUT: &str = "imu_input";

#[derive(Serialize)]
struct Quickstart {
    steps: Vec<Step>,
    bundle: Packed,
    answer: Answer,
    next: Vec<String>,
}

pub(crate) fn run(context: &Context, arguments: &QuickstartArguments) -> Result<Verdict> {
    let dir = &arguments.dir;
    let example = dir.join("example");
    let at = |name: &str| example.join(name);
    let shown = dir.display();
    let engines = context.engines(arguments.engine)?;
    let mut steps = Steps::new(context);
    steps.run(
        format!("write the example to {shown}/example"),
        "a checkpoint out of training, with its configuration, labels and metrics",
        || write_example(&example),
    )?;
    let onnx = dir.join("model.onnx");
    let export = ExportRequest {
        checkpoint: at("model.pt"),
        config: Some(at("config.json")),
        output: onnx,
        opset: None,
        link: false,
        external_data: false,
    };
    steps.run(
        format!("amphora export {shown}/example/model.pt --config {shown}/example/config.json -o {shown}/model.onnx"),
        "the checkpoint becomes ONNX, without Python",
        || amphora::export(&export),
    )?;
    let store = Store::open(dir.join("artifacts"))?;
    let pack = PackRequest {
        config: Some(at("config.json")),
        labels: Some(at("labels.json")),
        metrics: Some(at("metrics.json")),
        engines: engines.clone(),
        ..PackRequest::new(store.clone(), at("model.pt"), context.now()?)
    };
    let bundle = steps.run(
        format!("amphora pack --store {shown}/artifacts --model {shown}/example/model.pt --config {shown}/example/config.json --labels {shown}/example/labels.json --metrics {shown}/example/metrics.json"),
        "the bundle is built, proven and only then published",
        || amphora::pack(&pack, &|_| {}),
    )?;
    let verify = VerifyRequest {
        target: amphora::Target::Onnx,
        engines: engines.clone(),
        strict: false,
        validated_at: context.now()?,
    };
    let reference = format!("{shown}/artifacts/{}", bundle.exp_hash);
    steps.run(
        format!("amphora verify {reference} --target onnx"),
        "integrity, contract, model check and numeric replay, whenever you like",
        || amphora::verify(amphora::open(&bundle.path)?, &verify)?.into_result(),
    )?;
    let run = RunRequest {
        inputs: vec![(INPUT.to_owned(), InputValue::Npy(at("windows.npy")))],
        engines,
        top_k: Some(1),
        ..RunRequest::new(Subject::Bundle(Box::new(amphora::open(&bundle.path)?)))
    };
    let answer = steps.run(
        format!("amphora run {reference} --input {INPUT}={shown}/example/windows.npy"),
        "one answer, with its label",
        || amphora::run(run),
    )?;
    let next = vec![
        format!("amphora inspect {reference}"),
        format!("amphora archive {reference} --output {shown}/bundle.tar.zst --format tar.zst"),
        "amphora doctor".to_owned(),
    ];
    let quickstart = Quickstart {
        steps: steps.done,
        bundle,
        answer,
        next,
    };
    context.output.answer(&quickstart, words)?;
    Ok(Verdict::Yes)
}

fn write_example(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)
        .map_err(|source| Error::from_io("creating the directory", directory, source))?;
    for (name, bytes) in EXAMPLE {
        amphora::write_file(&directory.join(name), bytes)?;
    }
    Ok(())
}

fn words(quickstart: &Quickstart) -> String {
    let mut text = times(&quickstart.steps);
    text.push_str("\nWhat the model answered:\n");
    text.push_str(&crate::commands::run::words(&quickstart.answer));
    let path = quickstart.bundle.path.display();
    text.push('\n');
    text.push_str(&line(&format!("The bundle is {path}")));
    text.push_str("\nTry next:\n");
    for command in &quickstart.next {
        text.push_str(&line(&format!("  {command}")));
    }
    text
}
