//! Stretched rotary positions, against the numbers of `transformers` 5.23.

use amphora_checkpoint::architecture::{Architecture, RotaryScaling};
use amphora_export::{ExportOptions, export};
use amphora_testing::each;
use serde_json::json;

use crate::families::config;
use crate::support::{close, furthest, seeded_checkpoint};

/// The pairs of a head of 128 whose speeds are recorded.
const PAIRS: [usize; 10] = [0, 10, 20, 24, 28, 32, 36, 40, 48, 63];

#[test]
fn yarn_turns_and_enlarges_as_transformers_does() {
    let rows = [
        // As the model cards of Qwen 2.5 say it.
        (
            json!({"rope_theta": 1e6, "rope_scaling": {"factor": 4.0,
                "original_max_position_embeddings": 32768, "type": "yarn"}}),
            1.138_629_436_111_989,
            [
                1.0,
                0.115_478_202_700_614_93,
                0.013_335_214_927_792_55,
                0.005_375_321_488_827_467,
                0.001_848_276_588_134_467_6,
                0.000_602_941_145_189_106_5,
                0.000_179_841_183_125_972_75,
                4.445_698_505_151_085_6e-5,
                7.905_693_564_680_405e-6,
                3.102_344_408_034_696e-7,
            ],
        ),
        (
            json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0,
                "original_max_position_embeddings": 4096, "beta_fast": 16, "beta_slow": 2,
                "truncate": false, "mscale": 1.0, "mscale_all_dim": 0.8}}),
            1.035_657_084_939_349_6,
            [
                1.0,
                0.237_137_392_163_276_67,
                0.056_234_128_773_212_43,
                0.031_622_778_624_296_19,
                0.015_371_676_534_414_291,
                0.006_221_889_052_540_064,
                0.002_136_700_320_988_893_5,
                0.000_435_575_580_922_886_73,
                0.000_125_000_005_937_181_4,
                1.443_477_594_875_730_6e-5,
            ],
        ),
        // Without a factor: the context that the model has, as a multiple of the first training's.
        (
            json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 5e5, "factor": null,
                "original_max_position_embeddings": 8192, "attention_factor": 1.25}}),
            1.25,
            [
                1.0,
                0.128_687_381_744_384_77,
                0.015_099_225_565_791_13,
                0.005_362_253_636_121_75,
                0.001_794_631_592_929_363_3,
                0.000_540_728_680_789_470_7,
                0.000_155_693_109_262_667_01,
                6.856_204_709_038_138e-5,
                1.329_574_115_516_152_2e-5,
                6.137_851_755_738_666e-7,
            ],
        ),
    ];
    each(&rows, |(changed, attention, speeds)| {
        let mut config = config("llama", "LlamaForCausalLM", changed.clone());
        config["head_dim"] = 128.into();
        config["max_position_embeddings"] = 32768.into();
        let architecture = Architecture::from_config(&config).unwrap();
        let Architecture::Decoder(decoder) = &architecture else {
            return Err("not a decoder".to_owned());
        };
        match decoder.rotary.map(|rotary| rotary.scaling) {
            Some(RotaryScaling::Yarn {
                attention_factor, ..
            }) => close("enlarged", (attention_factor - attention).abs())?,
            other => return Err(format!("{other:?}")),
        }
        let checkpoint = seeded_checkpoint(&architecture);
        let model = export(&architecture, &checkpoint, &ExportOptions::default()).unwrap();
        let initializers = model.graph.unwrap().initializer;
        let stored = initializers
            .iter()
            .find(|tensor| tensor.name() == "rotary.inv_freq")
            .unwrap();
        let (bytes, _) = stored.raw_data().as_chunks::<4>();
        let found: Vec<f32> = bytes.iter().map(|it| f32::from_le_bytes(*it)).collect();
        PAIRS.iter().zip(speeds).try_for_each(|(pair, speed)| {
            close(
                &format!("pair {pair}"),
                furthest(&[found[*pair]], &[*speed]),
            )
        })
    });
}
