#![no_main]
// The program's own modules, as far as a config file goes through them.
#![allow(dead_code, unexpected_cfgs)]

#[path = "../../src/bin/symple/fuzz_config.rs"]
mod fuzz_config;
#[path = "../../src/bin/symple/limits.rs"]
mod limits;
#[path = "../../src/bin/symple/merge.rs"]
mod merge;
#[path = "../../src/media/board/nearest.rs"]
mod nearest;
#[path = "../../src/bin/symple/redis.rs"]
mod redis;
#[path = "../../src/bin/symple/secrets.rs"]
mod secrets;
#[path = "../../src/bin/symple/serve/settings.rs"]
mod settings;
#[path = "../../src/bin/symple/value.rs"]
mod value;

mod serve {
    pub(crate) use crate::settings;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_config::config(data));
