#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| amphora_attacks::parse::chat_template(data));
