//! Resizing and cropping, against what Pillow and torchvision give.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use amphora_files::sha256;
use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::image::{ImageConfig, ImageProcessor, Picture};
use amphora_testing::each;
use serde_json::json;

fn input(dtype: Dtype, shape: [i64; 4]) -> TensorSpec {
    let dim = |size: i64| u64::try_from(size).map_or(Dim::Unknown, Dim::Fixed);
    TensorSpec {
        name: "pixel_values".into(),
        dtype,
        shape: Some(shape.map(dim).into()),
    }
}

/// A picture that a formula gives.
fn pattern(width: usize, height: usize) -> Picture {
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let value = |(x, y)| {
        (0..3).map(move |c| ((x * 37 + y * 91 + c * 53 + (x * y * (c + 7)) % 101 * 3) % 256) as u8)
    };
    Picture::from_rgb8(width, height, rows.flat_map(value).collect()).unwrap()
}

#[test]
fn every_filter_is_pillows_bit_for_bit() {
    // SHA-256 of the rows that Pillow 13.0.0 gives, filter by filter in the order of their numbers.
    let rows = [
        (
            (13, 9),
            (5, 4),
            [
                "3a3bee47077a",
                "ba319dcba478",
                "e204ce3c8a51",
                "2647909357b0",
                "6b7aecd8db77",
                "13f5bcda2ac4",
            ],
        ),
        (
            (7, 5),
            (18, 16),
            [
                "284171744458",
                "ee0acd2f3b75",
                "62469b765944",
                "ab6f2155f9e9",
                "284171744458",
                "0223b717fc28",
            ],
        ),
        (
            (31, 2),
            (3, 6),
            [
                "c55f6d89aabf",
                "c6bea50cfd92",
                "ce92762f2f9b",
                "289f7ccf1059",
                "4dcb80b6497d",
                "baf0dbdca5f8",
            ],
        ),
        (
            (400, 3),
            (7, 1),
            [
                "92906d1c2c9a",
                "13f45de9cd3c",
                "a3808b057d2f",
                "24042ce0fcec",
                "5da6008ddeb0",
                "2e3f4b3d2aab",
            ],
        ),
        (
            (60, 45),
            (44, 58),
            [
                "245d658e98d7",
                "efcb84f2cfa1",
                "ef609e74be94",
                "54c3d2e5ee9f",
                "a64e47ecce75",
                "581520cfbc81",
            ],
        ),
        // Where more than twice as many rows as columns go, they go first; of 4 and 2 they do not.
        (
            (13, 40),
            (11, 9),
            [
                "f8cd64264723",
                "e8e90bb2ede5",
                "87121034b6e1",
                "9dd30c860c33",
                "f6cc31b8533f",
                "21c94c132e68",
            ],
        ),
        (
            (20, 30),
            (25, 20),
            [
                "8772832560e1",
                "5ab1b971b628",
                "11346cff04ca",
                "3efd934d27d5",
                "46897936d1e6",
                "5d79054bd712",
            ],
        ),
        (
            (40, 34),
            (38, 29),
            [
                "f3c9ccb29d66",
                "dac85b6811e2",
                "b610dcc26a12",
                "2492c307bf30",
                "9d7b85efe0f3",
                "d1824556f451",
            ],
        ),
        (
            (40, 33),
            (38, 29),
            [
                "e6c0588c91bd",
                "9943e447d27a",
                "3a739557d7e7",
                "a217d892c26b",
                "2f428f00baeb",
                "f13d165909c4",
            ],
        ),
        (
            (333, 500),
            (224, 224),
            [
                "754e640671fc",
                "730cef5255ca",
                "08e7770aa114",
                "199d2511aa01",
                "8719c077dfa5",
                "fa3366944c2b",
            ],
        ),
    ];
    let rows: Vec<_> = rows
        .iter()
        .flat_map(|(from, to, sums)| (0..6).map(move |filter| (*from, *to, filter, sums[filter])))
        .collect();
    each(
        &rows,
        |((width, height), (to_width, to_height), filter, sum)| {
            let config = json!({
                "size": {"height": to_height, "width": to_width}, "resample": filter, "crop": null,
                "rescale": null, "mean": null, "std": null, "layout": "NHWC",
            });
            let config: ImageConfig = serde_json::from_value(config).unwrap();
            let input = input(Dtype::Uint8, [1, *to_height, *to_width, 3]);
            let processor = ImageProcessor::new(config, &input).unwrap();
            let tensor = processor.pictures(&[pattern(*width, *height)]).unwrap();
            let found = sha256(tensor.as_slice::<u8>().unwrap()).to_string();
            match found.contains(sum) {
                true => Ok(()),
                false => Err(found),
            }
        },
    );
}

#[test]
fn crops_round_to_even_and_small_pictures_get_a_black_border() {
    let crop = |height: u32, width: u32| {
        let config = json!({
            "size": null, "crop": {"height": height, "width": width}, "rescale": null,
            "mean": null, "std": null, "layout": "NHWC",
        });
        let config: ImageConfig = serde_json::from_value(config).unwrap();
        let input = input(Dtype::Uint8, [-1, -1, -1, 3]);
        ImageProcessor::new(config, &input).unwrap()
    };
    let picture = Picture::from_rgb8(5, 1, (1..=15).collect()).unwrap();
    // (width of the crop, first value of each pixel): offsets 0.5, 1.5 become 0 and 2.
    let rows: [(u32, &[u8]); 5] = [
        (5, &[1, 4, 7, 10, 13]),
        (4, &[1, 4, 7, 10]),
        (2, &[7, 10]),
        (6, &[1, 4, 7, 10, 13, 0]),
        (8, &[0, 1, 4, 7, 10, 13, 0, 0]),
    ];
    each(&rows, |(width, expected)| {
        let tensor = crop(1, *width)
            .pictures(std::slice::from_ref(&picture))
            .unwrap();
        let found: Vec<u8> = tensor
            .as_slice::<u8>()
            .unwrap()
            .iter()
            .step_by(3)
            .copied()
            .collect();
        if found == *expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    let tall = crop(3, 5).pictures(&[picture]).unwrap();
    assert_eq!(tall.as_slice::<u8>().unwrap()[..15], [0; 15]);
    assert_eq!(tall.as_slice::<u8>().unwrap()[15], 1);
}
