//! The published schema is the code's, and the example manifests keep it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_bundle::Manifest;

/// The schema as it is published.
fn generated() -> String {
    let schema = schemars::schema_for!(Manifest);
    let bytes = amphora_files::json::to_pretty_bytes(&schema).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_published_schema_is_the_one_that_the_code_generates() {
    let path = amphora_testing::repository().join("docs/schemas/manifest.schema.json");
    let published = fs_err::read_to_string(&path).unwrap_or_default();
    if published != generated() {
        let fresh = std::env::temp_dir().join("manifest.schema.json");
        amphora_files::durable::write_file(&fresh, generated().as_bytes()).unwrap();
        panic!(
            "{} is not fresh; the fresh one is {}",
            path.display(),
            fresh.display()
        );
    }
}

#[test]
fn the_example_manifests_parse_keep_the_schema_and_are_written_as_they_are() {
    let schema: serde_json::Value = serde_json::from_str(&generated()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let folder = amphora_testing::repository().join("docs/examples");
    let rows = [
        "conv2d_fsq.manifest.yaml",
        "planner.manifest.yaml",
        "language_model.manifest.yaml",
    ];
    amphora_testing::each(&rows, |name| {
        let text = fs_err::read_to_string(folder.join(name)).map_err(|e| e.to_string())?;
        let manifest = Manifest::parse(text.as_bytes()).map_err(|e| format!("{e:?}"))?;
        if manifest.computed_id().map_err(|e| e.to_string())? != manifest.identity.id {
            return Err(format!(
                "the id should be {}",
                manifest.computed_id().unwrap()
            ));
        }
        if manifest.to_yaml().map_err(|e| e.to_string())? != text {
            return Err("it is not written as Amphora writes it".to_owned());
        }
        let value = amphora_bundle::parse_yaml(text.as_bytes()).map_err(|e| e.to_string())?;
        let faults: Vec<String> = validator
            .iter_errors(&value)
            .map(|e| e.to_string())
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("\n"))
        }
    });
}

#[test]
fn the_published_identity_text_is_the_one_of_the_example_and_its_digest_is_the_id() {
    let folder = amphora_testing::repository().join("docs/examples");
    let text = fs_err::read_to_string(folder.join("conv2d_fsq.manifest.yaml")).unwrap();
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    let published = fs_err::read_to_string(folder.join("conv2d_fsq.identity.txt")).unwrap();
    assert_eq!(
        amphora_bundle::canonical_form(&manifest).unwrap(),
        published
    );
    let digest = amphora_files::sha256(published.as_bytes());
    assert_eq!(digest, *manifest.identity.id.digest());
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema: serde_json::Value = serde_json::from_str(&generated()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let text = fs_err::read_to_string(
        amphora_testing::repository().join("docs/examples/conv2d_fsq.manifest.yaml"),
    )
    .unwrap();
    let healthy = amphora_bundle::parse_yaml(text.as_bytes()).unwrap();
    type Break = fn(&mut serde_json::Value);
    let rows: [(&str, Break); 6] = [
        ("an unknown key", |v| v["extra"] = 1.into()),
        ("another kind", |v| v["kind"] = "Data".into()),
        ("a name in capitals", |v| {
            v["metadata"]["name"] = "Demo".into()
        }),
        ("a short digest", |v| v["files"][0]["sha256"] = "ab".into()),
        ("a dtype that is none", |v| {
            v["spec"]["io"]["inputs"][0]["dtype"] = "float".into()
        }),
        ("no identity", |v| {
            v.as_object_mut().unwrap().remove("identity");
        }),
    ];
    assert!(validator.is_valid(&healthy));
    amphora_testing::each(&rows, |(_, break_it)| {
        let mut value = healthy.clone();
        break_it(&mut value);
        let read = serde_json::from_value::<Manifest>(value.clone()).is_ok();
        match (validator.is_valid(&value), read) {
            (false, false) => Ok(()),
            answer => Err(format!("schema, reader: {answer:?}")),
        }
    });
}
