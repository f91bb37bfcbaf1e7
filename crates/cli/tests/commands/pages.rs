//! The pages inside a bundle: what they tell people to type works there.

use std::path::Path;

use crate::scene::Scene;

/// Model directories, what the page of each must mention, and what `inspect` says of its bundle.
const ROWS: [(&str, &str, &str); 3] = [
    ("resnet_tiny", "--image", "image"),
    (
        "qwen3_embedding_tiny",
        "--text",
        "its last token, then division by its length",
    ),
    ("qwen3_tiny", "generate", "ends with token"),
];

/// Every fenced block of a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let mark = format!("{language}\n");
    page.split("```")
        .filter_map(|block| block.strip_prefix(mark.as_str()))
        .collect()
}

#[test]
fn commands_and_programs_on_the_pages_of_a_bundle_run_in_its_folder() {
    let scene = Scene::new();
    let peer = amphora_testing::peer("onnxruntime", None);
    amphora_testing::each(&ROWS, |(name, mentioned, said)| {
        let Some(directory) = amphora_testing::fixture(name) else {
            return Ok(());
        };
        let model = directory.to_string_lossy().into_owned();
        let pack = [
            "pack",
            &model,
            "--name",
            name,
            "--golden-cases",
            "2",
            "--json",
        ];
        let packed = scene.run(&pack);
        packed.expect_code(0);
        let bundle = scene.path(packed.json()["path"].as_str().unwrap());
        let page = |file: &str| fs_err::read_to_string(bundle.join("docs").join(file)).unwrap();
        let readme = page("README.md");
        if !readme.contains(mentioned) {
            return Err(format!("{mentioned} is absent from\n{readme}"));
        }
        // What the bundle is says the same.
        let seen = scene.run(&["inspect", name]).stdout;
        if !seen.contains(said) {
            return Err(seen);
        }
        let picture = amphora_testing::fixture("resnet_tiny/images/photo.jpg").unwrap();
        for block in blocks(&readme, "sh") {
            let script = block.replace("picture.png", &picture.to_string_lossy());
            shell(&scene, &bundle, &script)?;
        }
        let (Some(peer), reference) = (&peer, page("api_reference.md")) else {
            return Ok(());
        };
        for program in blocks(&reference, "python") {
            let place = serde_json::json!(bundle);
            peer.run(&format!("import os\nos.chdir({place})\n{program}"), &[]);
        }
        Ok(())
    });
}

/// Runs a script in `folder`, with the command on the path.
fn shell(scene: &Scene, folder: &Path, script: &str) -> Result<(), String> {
    let binary = assert_cmd::cargo::cargo_bin!("amphora");
    let mut command = scene.command::<&str>(&[]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-e", "-c", script])
        .current_dir(folder)
        .env_clear()
        .envs(
            command
                .env("PATH", binary.parent().unwrap())
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
    let answer = scene.answer(shell);
    match answer.code {
        Some(0) => Ok(()),
        _ => Err(format!("{script}\n{answer:#?}")),
    }
}
