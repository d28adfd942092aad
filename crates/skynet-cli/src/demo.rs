//! The demo node: the game of `examples/`, from the files inside the executable.

use crate::node::Settings;

/// Its config; `examples/config` is the same for a source tree.
const SETTINGS: &[(&str, &str)] = &[
    ("thread", "2"),
    ("harbor", "0"),
    ("start", "main"),
    ("luaservice", "./service/?.lua;./examples/game/?.lua"),
    ("game_address", "127.0.0.1"),
    ("game_port", "8888"),
    ("game_any_port", "true"),
    ("game_store", "game-store.txt"),
];

/// The keys of the demo's config.
pub(crate) fn settings() -> Settings {
    SETTINGS
        .iter()
        .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}
