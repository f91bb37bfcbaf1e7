//! Universes: the one that ships, and broken ones.

use amphora_planner::universe::{Direction, Universe};
use amphora_testing::{each, repository};

#[test]
fn the_example_reads_and_gives_the_documents_space() {
    let universe = Universe::open(&repository().join("examples/universe")).unwrap();
    assert_eq!(universe.universe_id, "workshop");
    assert_eq!(
        universe.defaults.swarm_id.as_deref(),
        Some("serial_handoff")
    );
    assert_eq!(universe.population_size("speculate_vote"), Some(3));
    assert_eq!(universe.population_size("tournament"), None);
    assert_eq!(universe.max_run_minutes, Some(120));
    assert_eq!(
        universe.objectives["passing_and_quick"].metrics["duration_ms"],
        Direction::Min
    );
    assert_eq!(universe.action_space(), Default::default());
}

#[test]
fn broken_universes_are_refused_with_their_place() {
    let healthy = [
        ("universe.yaml", "universe_id: u\ndefaults: {swarm_id: a}\n"),
        ("swarms.yaml", "swarms: {b: {}, a: {population_size: 2}}\n"),
        ("objectives.yaml", "objectives: {}\n"),
    ];
    let rows = [
        (
            "universe.yaml",
            "universe_id: u\ndefaults: {swarm_id: c}\n",
            "defaults.swarm_id",
        ),
        (
            "universe.yaml",
            "universe_id: u\ndefaults: {objective_id: o}\n",
            "defaults.objective_id",
        ),
        ("universe.yaml", "name: u\n", "universe_id"),
        ("swarms.yaml", "swarms: [a, b]\n", "swarms.yaml"),
        ("swarms.yaml", "swarms: {a: {}, a: {}}\n", "swarms.yaml"),
        (
            "swarms.yaml",
            "swarms: {a: {population_size: -1}}\n",
            "swarms.yaml",
        ),
        (
            "objectives.yaml",
            "objectives: {o: {metrics: {m: up}}}\n",
            "objectives.yaml",
        ),
        ("objectives.yaml", "", "objectives.yaml"),
    ];
    let write = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(folder.path().join(name), text).unwrap();
        }
        folder
    };
    let folder = write(&healthy);
    let universe = Universe::open(folder.path()).unwrap();
    assert_eq!(universe.swarm_ids(), ["a", "b"]);
    each(&rows, |(name, text, place)| {
        let folder = write(&healthy);
        fs_err::write(folder.path().join(name), text).unwrap();
        match Universe::open(folder.path()) {
            Err(error) if error.to_string().contains(place) => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
    let folder = write(&healthy[..2]);
    assert!(Universe::open(folder.path()).is_err());
}
