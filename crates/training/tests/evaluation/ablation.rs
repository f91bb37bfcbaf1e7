//! Grids, and running them.

use amphora_testing::each;
use amphora_training::ablate::{Grid, ablate};
use amphora_training::evaluate::Settings;

use crate::scene::{Scene, settings};

const GRID: &str = r#"
folds = 3
rows_per_task = 1
base = { epochs = 1, schedule_epochs = 1, sizes = { d_hidden = 8, n_layers = 1 } }
[axes.hist]
0 = { similar_runs = 0 }
4 = { similar_runs = 4 }
8 = { similar_runs = 8 }
[axes.decoding]
masked = { decode = "masked" }
joint = { decode = "joint" }
conditioned = { decode = "autoregressive", decoding = "autoregressive" }
classifier = { model = "joint" }
"#;

#[test]
fn an_ablation_resumes_where_it_ended() {
    let scene = Scene::new();
    let grid = Grid::parse(GRID).unwrap();
    let out = scene.path("ablation");
    let mut settings = settings();
    settings.replays = 2;
    let run = |settings: &Settings| {
        let mut steps = 0;
        let found = ablate(
            &scene.dataset,
            &scene.trials,
            settings,
            &grid,
            &out,
            &mut |_| {
                steps += 1;
            },
        );
        found.map(|found| (found, steps))
    };
    let (first, steps) = run(&settings).unwrap();
    let names: Vec<&str> = first.rows.iter().map(|row| &*row.name).collect();
    assert_eq!(
        names,
        [
            "decoding_classifier",
            "decoding_conditioned",
            "decoding_joint",
            "decoding_masked",
            "hist_0",
            "hist_4",
            "hist_8"
        ]
    );
    assert_eq!(steps, 7 * 3);
    fs_err::remove_dir_all(out.join("hist_4")).unwrap();
    let (second, steps) = run(&settings).unwrap();
    assert_eq!((second, steps), (first, 3));
    assert!(out.join("ablation.html").is_file());

    settings.seed = 1;
    assert_eq!(run(&settings).unwrap_err().rule(), "ablation-mismatch");
}

/// The scene's dataset holds eight earlier runs: sixteen would be the run of eight under another name.
#[test]
fn runs_that_show_more_than_the_dataset_holds_are_refused_before_any_is_made() {
    let scene = Scene::new();
    let grid = Grid::parse(&GRID.replace("similar_runs = 4", "similar_runs = 16")).unwrap();
    let out = scene.path("ablation");
    let error = ablate(
        &scene.dataset,
        &scene.trials,
        &settings(),
        &grid,
        &out,
        &mut |step| panic!("{step}"),
    )
    .unwrap_err();
    assert_eq!(error.rule(), "ablation-history");
    assert!(error.hint_text().unwrap().contains("--similar 16"));
    assert!(!out.exists());
}

#[test]
fn broken_grids_are_refused() {
    each(
        &[
            ("folds = 3", "grid"),
            ("folds = 3\nfold = 3\n[axes.a]\n0 = {}", "grid"),
            ("[axes]", "grid-empty"),
            ("[axes.a]\n0 = { epoch = 3 }", "grid-run"),
            ("[axes.a]\n0 = { model = \"oracle\" }", "grid-run"),
            ("[axes.a]\n0 = { epochs = 0 }", "grid-run"),
            ("[axes.a]\n0 = { decode = \"beam\" }", "grid-run"),
            ("[axes.a]\n\"../x\" = {}", "grid-run"),
        ],
        |&(text, rule)| match Grid::parse(text).and_then(|grid| grid.runs()) {
            Err(error) if error.rule() == rule => Ok(()),
            other => Err(format!("expected {rule}, found {other:?}")),
        },
    );
}

#[test]
fn the_shipped_grid_is_a_grid() {
    let text =
        fs_err::read_to_string(amphora_testing::repository().join("examples/planner_grid.toml"))
            .unwrap();
    let runs = Grid::parse(&text).unwrap().runs().unwrap();
    assert_eq!(runs.len(), 43);
    let ways: Vec<(&str, &str)> = runs
        .iter()
        .filter(|run| run.axis == "decoding")
        .map(|run| (&*run.name, run.decode.name()))
        .collect();
    assert_eq!(
        ways,
        [
            ("decoding_autoregressive", "autoregressive"),
            ("decoding_classifier", "joint"),
            ("decoding_conditioned", "autoregressive"),
            ("decoding_joint", "joint"),
            ("decoding_masked", "masked"),
        ]
    );
}
