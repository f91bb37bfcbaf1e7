#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| amphora_attacks::parse::saved_model(data));
