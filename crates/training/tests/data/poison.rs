//! Row 107: leaks between parts, duplicated rows, poisoned labels, label shift.

use amphora_training::dataset::NOTABLE_SHIFT;
use amphora_training::import::Policy;
use serde_json::{Value, json};

use crate::scene::{Scene, known, simulated};

#[test]
fn row_107_poisoned_labels_are_left_out_and_counted() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let of = |swarm: &str| {
        let row = dataset
            .rows
            .iter()
            .find(|row| row.label_action.swarm_id == swarm);
        row.unwrap().run_id.clone()
    };
    let (serial, vote) = (of("serial_handoff"), of("speculate_vote"));
    let sibling = format!("{}b", vote.strip_suffix('a').unwrap());
    type Edit = fn(&mut Value);
    let rows: [(&str, &str, Edit); 9] = [
        (&serial, "label_out_of_space", |plan| {
            plan["swarm_id_executed"] = "tournament".into()
        }),
        (&serial, "label_invalid", |plan| {
            plan["max_candidates_executed"] = 3.into()
        }),
        (&serial, "label_unreadable_plan", |plan| {
            plan["max_candidates_executed"] = 0.into()
        }),
        (&serial, "label_invalid", |plan| {
            plan["max_iterations_executed"] = 2.into()
        }),
        (&serial, "label_contradicts_action", |plan| {
            plan["timeout_seconds_executed"] = 60_000.into()
        }),
        (&sibling, "label_siblings_disagree", |plan| {
            plan["timeout_seconds_executed"] = 60.into()
        }),
        (&sibling, "label_siblings_disagree", |plan| {
            plan["max_candidates_executed"] = 1.into()
        }),
        (&serial, "label_unreadable_plan", |plan| {
            plan["schema_version"] = "cyntra.executed_plan.v2".into()
        }),
        (&sibling, "label_unreadable_plan", |plan| {
            plan["fallback_applied"] = Value::Null
        }),
    ];
    amphora_testing::each(&rows, |(folder, reason, edit)| {
        let before = scene.document(folder, "manifest.json");
        scene.edit(folder, |manifest, _| {
            edit(&mut manifest["planner"]["executed_plan"])
        });
        let poisoned = scene.build().unwrap();
        scene.edit(folder, |manifest, _| *manifest = before);
        let left_out: Vec<_> = known(&dataset)
            .into_iter()
            .map(|(run, _)| run)
            .filter(|run| poisoned.rows.iter().all(|row| row.run_id != *run))
            .collect();
        let count = poisoned.meta.dropped.get(*reason);
        match (count, left_out.len()) {
            (Some(1), 1) => Ok(()),
            found => Err(format!("{found:?} {:?}", poisoned.meta.dropped)),
        }
    });
}

#[test]
fn row_107_a_serial_decision_with_two_different_runs_has_no_label() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let row = dataset
        .rows
        .iter()
        .find(|row| row.label_action.swarm_id == "serial_handoff");
    let source = row.unwrap().run_id.clone();
    scene.plant(&source, "second", |manifest, proof| {
        crate::scene::rename(manifest, proof, "second");
        proof["metadata"]["duration_ms"] = 1.into();
    });
    let poisoned = scene.build().unwrap();
    assert_eq!(poisoned.meta.dropped["label_fewer_than_runs"], 1);
    assert!(poisoned.rows.iter().all(|row| row.run_id != source));
}

#[test]
fn row_107_old_archives_are_repaired_where_only_one_reading_is_possible() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let row = dataset
        .rows
        .iter()
        .find(|row| row.label_action.swarm_id == "serial_handoff");
    let source = row.unwrap().run_id.clone();
    scene.edit(&source, |manifest, _| {
        let plan = &mut manifest["planner"]["executed_plan"];
        plan["max_candidates_executed"] = Value::Null;
        plan["fallback_applied"] = true.into();
        // 38 minutes: nearest to 45.
        plan["timeout_seconds_executed"] = (38 * 60).into();
    });
    let repaired = scene.build().unwrap();
    assert_eq!(repaired.meta.findings.repaired["label_candidates"], 1);
    assert_eq!(repaired.meta.findings.repaired["label_binned"], 1);
    let row = repaired
        .rows
        .iter()
        .find(|row| row.run_id == source)
        .unwrap();
    assert_eq!(
        serde_json::to_value(row.label_action.budgets).unwrap(),
        json!({"max_candidates_bin": 1, "max_minutes_bin": 45, "max_iterations_bin": "NA"})
    );
}

#[test]
fn row_107_archives_older_than_plans_are_counted() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let row = dataset
        .rows
        .iter()
        .find(|row| row.label_action.swarm_id == "serial_handoff");
    let source = row.unwrap().run_id.clone();
    assert!(dataset.meta.findings.repaired.is_empty());
    scene.edit(&source, |manifest, _| {
        manifest["planner"]["executed_plan"] = json!({});
    });
    let legacy = scene.build().unwrap();
    assert_eq!(legacy.meta.findings.repaired["legacy_minutes"], 1);
    let row = legacy.rows.iter().find(|row| row.run_id == source).unwrap();
    assert_eq!(
        serde_json::to_value(row.label_action.budgets).unwrap(),
        json!({"max_candidates_bin": 1, "max_minutes_bin": "NA", "max_iterations_bin": "NA"})
    );
}

#[test]
fn row_107_rules_in_words_alone_let_no_invalid_label_through() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let count = dataset.rows.len();
    let in_words = |manifest: &mut Value| {
        let space = &mut manifest["planner"]["planner_input"]["action_space"];
        space["validity_rules"] = json!([{"description": "serial_handoff runs one candidate"}]);
    };
    // Half of the decisions, then all of them: the space is the same.
    for part in [2, 1] {
        for folder in scene.folders() {
            let manifest = scene.document(&folder, "manifest.json");
            let created = &manifest["planner"]["planner_input"]["created_at"];
            let place = dataset
                .rows
                .iter()
                .position(|row| row.planner_input.created_at == *created);
            if place.unwrap() % part == 0 {
                scene.edit(&folder, |manifest, _| in_words(manifest));
            }
        }
        let ruled = scene.build().unwrap();
        assert_eq!(ruled.meta.dataset_hash, dataset.meta.dataset_hash);
        let repaired = ruled.meta.findings.repaired["action_space_rules"];
        assert_eq!(repaired, count.div_ceil(part) as u64);
    }
    let row = dataset
        .rows
        .iter()
        .find(|row| row.label_action.swarm_id == "serial_handoff");
    let source = row.unwrap().run_id.clone();
    scene.edit(&source, |manifest, _| {
        manifest["planner"]["executed_plan"]["max_candidates_executed"] = 3.into();
    });
    let poisoned = scene.build().unwrap();
    assert_eq!(poisoned.meta.dropped["label_invalid"], 1);
    assert!(poisoned.rows.iter().all(|row| row.run_id != source));
}

#[test]
fn row_107_an_input_that_claims_a_later_time_or_knows_the_future_is_reported_and_not_believed() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let last = dataset.rows.last().unwrap();
    let target = &dataset.rows[2].run_id;
    let future = json!({
        "run_id": last.run_id, "started_ms": last.started_ms, "job_type": "code", "domain": "code",
        "action_executed": {}, "outcome": {"status": "success", "fail_codes": [], "gates": []},
        "runtime": {"duration_ms": 5}
    });
    for folder in scene.folders() {
        let stem = target.strip_suffix('a').unwrap();
        if folder.starts_with(stem) {
            scene.edit(&folder, |manifest, _| {
                let input = &mut manifest["planner"]["planner_input"];
                input["history"]["last_n_similar_runs"] = json!([future]);
            });
        }
    }
    let poisoned = scene.build().unwrap();
    assert_eq!(poisoned.meta.findings.stored_leaks, 1);
    assert_eq!(known(&poisoned), known(&dataset));
    // A decision is not made after what it started.
    for folder in scene.folders() {
        if folder.starts_with(target.strip_suffix('a').unwrap()) {
            scene.edit(&folder, |manifest, _| {
                manifest["planner"]["planner_input"]["created_at"] = "2031-01-01T00:00:00Z".into();
            });
        }
    }
    let late = scene.build().unwrap();
    assert_eq!(late.meta.findings.repaired["input_after_start"], 1);
    assert_eq!(known(&late), known(&dataset));
}

#[test]
fn row_107_label_shift_is_measured() {
    let even = Scene::with_policy(30, &Policy::Heuristic).build().unwrap();
    let shift = &even.meta.findings.label_shift;
    assert_eq!(shift.len(), 5);
    assert!(shift.values().all(|shift| (0.0..=1.0).contains(shift)));
    // From some moment on, everything is executed otherwise.
    let scene = Scene::with_policy(30, &"fixed:serial_handoff/1/30/NA".parse().unwrap());
    let constant = scene.build().unwrap();
    assert!(
        constant
            .meta
            .findings
            .label_shift
            .values()
            .all(|shift| *shift == 0.0)
    );
    let late = constant.rows.iter().skip(constant.rows.len() * 9 / 10);
    for row in late {
        scene.edit(&row.run_id, |manifest, _| {
            let plan = &mut manifest["planner"]["executed_plan"];
            plan["timeout_seconds_executed"] = 7200.into();
            plan["fallback_applied"] = true.into();
        });
    }
    let shifted = scene.build().unwrap().meta.findings.label_shift;
    assert_eq!(shifted["max_minutes_bin"], 1.0);
    assert!(shifted["action"] > NOTABLE_SHIFT);
    assert_eq!(shifted["swarm_id"], 0.0);
}

#[test]
fn row_107_nothing_to_learn_from_is_an_error_that_says_why() {
    let scene = Scene::new(2);
    for folder in scene.folders() {
        scene.edit(&folder, |manifest, _| {
            manifest["planner"]["executed_plan"]["swarm_id_executed"] = "tournament".into();
        });
    }
    let error = scene.build().unwrap_err();
    assert_eq!(error.rule(), "dataset-empty");
    assert!(error.to_string().contains("label_out_of_space"), "{error}");

    let (other, _) = simulated(1, 1);
    let mut scene = Scene::new(2);
    scene.issues = other;
    scene.issues.issues.clear();
    for folder in scene.folders() {
        scene.edit(&folder, |manifest, _| {
            manifest["planner"]["planner_input"] = Value::Null
        });
    }
    let error = scene.build().unwrap_err();
    assert!(error.to_string().contains("no_issue_record"), "{error}");
}

#[test]
fn row_107_archives_of_two_action_spaces_need_a_decision() {
    let scene = Scene::new(3);
    let folder = scene.folders().remove(0);
    scene.edit(&folder, |manifest, _| {
        let space = &mut manifest["planner"]["planner_input"]["action_space"];
        space["max_minutes_bins"] = json!([1, 2, "NA"]);
    });
    assert_eq!(scene.build().unwrap_err().rule(), "action-spaces-differ");
}
