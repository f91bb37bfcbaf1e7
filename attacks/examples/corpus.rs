//! Writes the seeds of the fuzz targets into `fuzz/corpus`: `cargo run -p amphora-attacks --example corpus`.

use std::path::Path;

fn main() -> amphora_attacks::Outcome {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for ((target, name), bytes) in amphora_attacks::seeds()? {
        let folder = corpus.join(target);
        fs_err::create_dir_all(&folder)?;
        fs_err::write(folder.join(name), bytes)?;
    }
    Ok(())
}
