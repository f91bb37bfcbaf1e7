//! Equal exports are equal bundles.

use amphora_bundle::Bundle;
use amphora_error::ErrorKind;
use amphora_training::export::export;

use crate::scene::{Model, Scene, date, engines};

#[test]
fn equal_checkpoints_give_equal_ids_whatever_the_date() {
    let scene = Scene::new();
    let checkpoint = scene.checkpoint("checkpoint", Model::SmallMlp);
    let engines = engines();
    let ids = [("first", 0), ("second", 86_400)].map(|(name, seconds)| {
        let (out, created) = (scene.path(name), date(seconds));
        let exported = export(
            &scene.request(&checkpoint, &out, &engines, &created),
            &|_| (),
        );
        let bundle = Bundle::open(&out).unwrap();
        assert_eq!(bundle.manifest().metadata.created.as_ref(), Some(&created));
        exported.unwrap().id
    });
    assert_eq!(ids[0], ids[1]);
    let (out, created) = (scene.path("third"), date(0));
    let mut request = scene.request(&checkpoint, &out, &engines, &created);
    request.version = "1.0.1";
    assert_ne!(export(&request, &|_| ()).unwrap().id, ids[0]);
}

#[test]
fn an_export_that_is_there_stays_and_nothing_else_is_overwritten() {
    let scene = Scene::new();
    let (out, first) = scene.export(Model::SmallMlp, "bundle");
    let before = fs_err::metadata(out.join("manifest.yaml"))
        .unwrap()
        .modified()
        .unwrap();
    let (_, again) = scene.export(Model::SmallMlp, "bundle");
    assert!(!first.existed && again.existed);
    let after = fs_err::metadata(out.join("manifest.yaml"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    let checkpoint = scene.checkpoint("other", Model::Urm);
    let (engines, created) = (engines(), date(0));
    let error = export(
        &scene.request(&checkpoint, &out, &engines, &created),
        &|_| (),
    )
    .unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Usage, "output-exists")
    );
    assert_eq!(Bundle::open(&out).unwrap().id(), first.id);
    // Nothing half-made stays beside it.
    let names: Vec<String> = fs_err::read_dir(scene.scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".amphora"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_kept_checkpoint_is_byte_for_byte_the_source() {
    let scene = Scene::new();
    let checkpoint = scene.checkpoint("checkpoint", Model::SmallMlp);
    let (out, engines, created) = (scene.path("kept"), engines(), date(0));
    let mut request = scene.request(&checkpoint, &out, &engines, &created);
    request.keep_checkpoint = true;
    let toolchains = ["codex".to_owned(), "claude".to_owned()];
    request.toolchains = Some(&toolchains);
    export(&request, &|_| ()).unwrap();
    let source = fs_err::read(checkpoint.join("model.safetensors")).unwrap();
    assert_eq!(
        fs_err::read(out.join("checkpoint.safetensors")).unwrap(),
        source
    );
    let manifest = Bundle::open(&out).unwrap().manifest().clone();
    assert_eq!(
        manifest.assets.checkpoint.as_ref().unwrap().as_str(),
        "checkpoint.safetensors"
    );
    let opened = amphora_planner::bundle::PlannerBundle::open(&out).unwrap();
    assert_eq!(opened.toolchains(), Some(&toolchains[..]));
    assert!(opened.digests().toolchains.is_some());
}
