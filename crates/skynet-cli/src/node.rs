//! Running a node from its config to its end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use skynet_core::Node;
use skynet_net::Net;

use crate::daemon;
use crate::signals::Signals;
use crate::sys;

/// The keys of a config and their values.
pub(crate) type Settings = Vec<(Vec<u8>, Vec<u8>)>;

/// Runs the node of a config file; returns when it has ended.
///
/// # Errors
/// Why it did not start, as text for standard error.
pub(crate) fn run_config(path: &Path) -> Result<ExitCode, String> {
    let settings = skynet_lua::config::load(path).map_err(|error| error.to_string())?;
    run(settings)
}

/// Runs a node.
///
/// # Errors
/// Why it did not start, as text for standard error.
pub(crate) fn run(settings: Settings) -> Result<ExitCode, String> {
    sys::ignore_broken_pipes();
    let daemon = value(&settings, b"daemon");
    let net = Net::new();
    let builder = Node::builder()
        .env_all(settings)
        .component(net.clone())
        .extension(net);
    let builder = skynet_lua::install(builder);
    // Keys are checked before the process detaches, so that the user sees the error.
    let node = builder.build().map_err(|error| error.to_string())?;
    // Forks, so nothing may have made a thread before.
    let pid_file = daemon.map(|path| daemon::start(&path)).transpose()?;
    let signals = Signals::catch().map_err(|error| format!("Can't catch signals: {error}"))?;
    if let Err(error) = node.start() {
        return Err(error.to_string());
    }
    // A signal that came during the start is delivered now.
    signals
        .deliver_to(&node)
        .map_err(|error| format!("Create thread failed: {error}"))?;
    node.wait();
    if let Some(file) = pid_file {
        file.remove();
    }
    Ok(ExitCode::from(node.exit_code()))
}

fn value(settings: &Settings, key: &[u8]) -> Option<PathBuf> {
    settings
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| PathBuf::from(String::from_utf8_lossy(value).into_owned()))
}
