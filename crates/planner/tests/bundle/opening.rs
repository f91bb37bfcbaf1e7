//! Bundles that open.

use amphora_planner::action_space::Head;
use amphora_planner::bundle::PlannerBundle;

use crate::scene::{Scene, by_engine, input};

/// What an engine answers to the input of the scene, head by head.
fn expected(scene: &Scene) -> [Vec<f32>; 4] {
    let schema = scene.schema();
    let row = schema.encode(&input(&scene.space)).to_dense(schema.width());
    let mut outputs = by_engine(&scene.graph(), &row, schema.width());
    Head::ALL.map(|head| outputs.remove(head.onnx_name()).unwrap())
}

fn check(scene: &Scene, bundle: &PlannerBundle) {
    let found = bundle.logits(&input(&scene.space)).unwrap();
    for (head, (found, expected)) in found.iter().zip(&expected(scene)).enumerate() {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(expected);
        for (found, expected) in pairs {
            assert!(
                (found - expected).abs() < 1e-5,
                "head {head}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_sealed_bundle_runs_sparse_and_answers_as_an_engine_does() {
    let scratch = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    let path = scene.seal(scratch.path());
    let bundle = PlannerBundle::open(&path).unwrap();
    check(&scene, &bundle);
    assert!(bundle.is_sparse());
    assert_eq!(bundle.runs_on(), "sparse");
    assert_eq!(bundle.name(), path.file_name().unwrap().to_str().unwrap());
    assert_eq!(
        (bundle.version(), bundle.git_sha()),
        (Some("1.2.3"), Some("abcdef0"))
    );
    assert_eq!(bundle.temperatures(), [1.0, 1.0, 2.0, 1.0]);
    assert_eq!(bundle.action_space(), &scene.space);
    assert_eq!(bundle.similar_runs(), 2);
    assert_eq!(bundle.toolchains(), None);
}

#[test]
fn a_flat_directory_answers_the_same_under_the_name_of_its_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    let bundle = PlannerBundle::open(&scene.lay_out(scratch.path())).unwrap();
    check(&scene, &bundle);
    assert!(bundle.is_sparse());
    assert_eq!(bundle.name(), "v1");
}

#[test]
fn a_flat_directory_may_call_its_model_planner() {
    let scratch = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    let folder = scene.lay_out(scratch.path());
    fs_err::rename(folder.join("model.onnx"), folder.join("planner.onnx")).unwrap();
    check(&scene, &PlannerBundle::open(&folder).unwrap());
}

#[test]
fn a_configuration_may_repeat_the_action_space_in_other_words() {
    let scratch = tempfile::tempdir().unwrap();
    let mut space = serde_json::to_value(Scene::new().space).unwrap();
    space["validity_rules"][0]["description"] = serde_json::json!("in other words");
    let scene = Scene::new().set("config.json", "action_space", space);
    PlannerBundle::open(&scene.lay_out(scratch.path())).unwrap();
}

#[test]
fn outputs_are_bound_by_name_whatever_their_order() {
    let scratch = tempfile::tempdir().unwrap();
    let mut scene = Scene::new();
    scene.order = [
        Head::Iterations,
        Head::Minutes,
        Head::Swarm,
        Head::Candidates,
    ];
    check(
        &scene,
        &PlannerBundle::open(&scene.seal(scratch.path())).unwrap(),
    );
}

#[test]
fn widths_follow_the_action_space_of_the_bundle() {
    let scratch = tempfile::tempdir().unwrap();
    let mut scene = Scene::new();
    scene.space.max_minutes_bins.remove(0);
    scene.space.swarm_ids.push("third".to_owned());
    scene.write_documents();
    let bundle = PlannerBundle::open(&scene.seal(scratch.path())).unwrap();
    check(&scene, &bundle);
}

#[test]
#[cfg(feature = "engines")]
fn an_engine_takes_over_when_the_golden_vectors_disagree_or_the_graph_is_another() {
    let change: [fn(&mut Scene); 2] = [
        |scene| scene.golden_shift = 2e-5,
        |scene| scene.relu = false,
    ];
    for change in change {
        let scratch = tempfile::tempdir().unwrap();
        let mut scene = Scene::new();
        change(&mut scene);
        let bundle = PlannerBundle::open(&scene.seal(scratch.path())).unwrap();
        assert!(
            bundle.runs_on().starts_with("rten "),
            "{}",
            bundle.runs_on()
        );
        check(&scene, &bundle);
    }
}

#[test]
#[cfg(not(feature = "engines"))]
fn without_an_engine_disagreement_with_the_golden_vectors_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let mut scene = Scene::new();
    scene.golden_shift = 2e-5;
    let error = PlannerBundle::open(&scene.seal(scratch.path())).unwrap_err();
    assert_eq!(error.rule(), "planner-engine");
}
