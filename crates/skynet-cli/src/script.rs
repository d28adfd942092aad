//! `skynet lua FILE ARG ...`

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// Runs a Lua script.
///
/// # Errors
/// The script's error, as text for standard error.
pub(crate) fn run(file: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    let text = |bytes: &[u8]| {
        CString::new(bytes).map_err(|_| "skynet: an argument contains a NUL byte".to_owned())
    };
    let file = text(file.as_os_str().as_bytes())?;
    let args = args
        .iter()
        .map(|arg| text(arg.as_bytes()))
        .collect::<Result<Vec<_>, _>>()?;
    skynet_lua::script::run(&file, &args).map_err(|error| format!("skynet: {error}"))?;
    Ok(ExitCode::SUCCESS)
}
