//! The configuration loader, by the vectors. Only one test may change the
//! current directory of the process.

mod common;

use std::ffi::OsString;

use common::{Dir, text, vectors};

#[test]
fn configurations_load_as_measured() {
    let vectors = vectors("core-config.json");
    let mut checked = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let name = text(&case["name"]);
        let dir = Dir::new();
        let elsewhere = Dir::new();
        elsewhere.write("abs", "abs = \"yes\"");
        let absolute = elsewhere.path("abs");
        for (file, content) in case["files"].as_object().unwrap() {
            let content = text(content)
                .replace("@CSERVICE@", "./cservice")
                .replace("@ABSFILE@", &absolute);
            dir.write(file, &content);
        }
        std::env::set_current_dir(&dir.0).unwrap();
        let environment: Vec<(OsString, OsString)> = case["environ"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.into(), text(value).into()))
            .collect();
        let result = skynet_lua::config::load_with(text(&case["argv1"]), environment);
        let stderr = case["stderr"].as_str().unwrap_or_default();
        let concerns_loading = stderr.starts_with("[skynet config]")
            || stderr.starts_with("Invalid config")
            || stderr.starts_with("config:");
        if concerns_loading {
            let error = result.expect_err(name);
            assert_eq!(format!("{error}\n"), stderr, "{name}");
            checked += 1;
            continue;
        }
        let settings = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        let get = |key: &str| {
            settings
                .iter()
                .find(|(k, _)| k == key.as_bytes())
                .map(|(_, v)| String::from_utf8_lossy(v).into_owned())
        };
        // Defaults that the node writes back, and keys that the harness adds.
        let ours = |key: &str| {
            case["files"]
                .as_object()
                .is_some_and(|files| files.values().any(|f| text(f).contains(key)))
        };
        for (key, value) in case["getenv"].as_object().into_iter().flatten() {
            let expected = value.as_str().map(|v| {
                v.replace("@CSERVICE@", "./cservice")
                    .replace("@ABSFILE@", &absolute)
            });
            if expected.is_none() || ours(key) {
                assert_eq!(get(key), expected, "{name}: {key}");
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "only {checked} checks");
}

#[test]
fn a_directory_is_no_configuration() {
    let dir = Dir::new();
    let error = skynet_lua::config::load(&dir.0).expect_err("a directory");
    assert!(error.to_string().contains("Is a directory"), "{error}");
}
