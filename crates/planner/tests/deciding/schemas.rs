//! The published schemas: fresh, kept by the examples, as strict as the readers.

use amphora_planner::contracts::schemas;
use amphora_testing::{each, repository};
use serde_json::Value;

fn validator(name: &str) -> jsonschema::Validator {
    let (_, schema) = schemas().into_iter().find(|entry| entry.0 == name).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn faults(name: &str, value: &Value) -> Vec<String> {
    validator(name)
        .iter_errors(value)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

#[test]
fn the_published_schemas_are_those_that_the_code_generates() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the developer asks for new files"
    )]
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    each(&schemas(), |(name, schema)| {
        let path = repository().join(format!("docs/schemas/{name}.schema.json"));
        let fresh = amphora_files::json::to_pretty_bytes(schema).unwrap();
        if update {
            amphora_files::durable::write_file(&path, &fresh).unwrap();
        }
        let published = fs_err::read(&path).unwrap_or_default();
        (published == fresh)
            .then_some(())
            .ok_or("stale: UPDATE_DOCS=1 cargo test -p amphora-planner --test deciding writes it")
    });
}

#[test]
fn every_example_keeps_its_schema() {
    each(&schemas(), |(name, _)| {
        let path = repository().join(format!("docs/examples/{name}.json"));
        let value = amphora_files::json::read(&path).map_err(|error| error.to_string())?;
        let faults = faults(name, &value);
        faults.is_empty().then_some(()).ok_or(faults.join("\n"))
    });
}

#[test]
fn the_documents_samples_keep_the_schemas() {
    let path = repository().join("../shared/facts/planner.md");
    let Ok(text) = fs_err::read_to_string(&path) else {
        amphora_testing::skip("the fact sheet is absent");
        return;
    };
    let samples: Vec<Value> = text
        .split("```json\n")
        .skip(1)
        .filter_map(|block| serde_json::from_str(block.split("```").next()?).ok())
        .collect();
    let versions = [
        ("cyntra.planner_input.v1", "planner_input"),
        ("cyntra.planner_action.v1", "planner_action"),
        ("cyntra.executed_plan.v1", "executed_plan"),
        ("cyntra.planner_dataset.v1", "dataset_meta"),
        ("cyntra.planner_best_of_k_bench.v1", "bench_report"),
    ];
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for sample in &samples {
        let version = sample["schema_version"].as_str();
        let name = match versions.iter().find(|entry| version == Some(entry.0)) {
            Some(entry) => entry.1,
            None if sample.get("action_executed").is_some() => "run_summary",
            None if sample.get("candidates").is_some() => "bench_record",
            None => continue,
        };
        seen.push(name);
        wrong.extend(
            faults(name, sample)
                .into_iter()
                .map(|f| format!("{name}: {f}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), versions.len() + 2, "{seen:?}");
}

#[test]
fn closed_objects_are_closed_and_words_are_listed() {
    type Break = fn(&mut Value);
    let rows: [(&str, &str, Break); 12] = [
        ("planner_input", "a key", |v| v["extra"] = 1.into()),
        ("planner_input", "a key of the space", |v| {
            v["action_space"]["extra"] = 1.into()
        }),
        ("planner_input", "a key of the history", |v| {
            v["history"]["extra"] = 1.into()
        }),
        ("planner_input", "attempts as text", |v| {
            v["issue"]["dk_attempts"] = "1".into()
        }),
        ("planner_input", "a priority", |v| {
            v["issue"]["dk_priority"] = "P9".into()
        }),
        ("planner_input", "no hint", |v| {
            v["issue"].as_object_mut().unwrap().remove("dk_tool_hint");
        }),
        ("planner_action", "a key", |v| v["label_source"] = 1.into()),
        ("planner_action", "a key of budgets", |v| {
            v["budgets"]["extra"] = 1.into()
        }),
        ("planner_action", "a key of the model", |v| {
            v["model"]["extra"] = 1.into()
        }),
        ("planner_action", "a confidence", |v| {
            v["confidence"] = 2.into()
        }),
        ("executed_plan", "no version", |v| {
            v.as_object_mut().unwrap().remove("schema_version");
        }),
        ("run_summary", "a key of what ran", |v| {
            v["action_executed"]["extra"] = 1.into()
        }),
    ];
    each(&rows, |(name, _, break_it)| {
        let path = repository().join(format!("docs/examples/{name}.json"));
        let mut value = amphora_files::json::read(&path).map_err(|error| error.to_string())?;
        break_it(&mut value);
        match faults(name, &value).is_empty() {
            true => Err("it was accepted".to_owned()),
            false => Ok(()),
        }
    });
    let open = [("planner_input", "issue"), ("executed_plan", "")];
    each(&open, |(name, key)| {
        let path = repository().join(format!("docs/examples/{name}.json"));
        let mut value = amphora_files::json::read(&path).map_err(|error| error.to_string())?;
        let object = if key.is_empty() {
            &mut value
        } else {
            &mut value[*key]
        };
        object["unheard_of"] = 1.into();
        let faults = faults(name, &value);
        faults.is_empty().then_some(()).ok_or(faults.join("\n"))
    });
}
