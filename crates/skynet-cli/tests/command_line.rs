//! The command line: modes, errors, exit codes.

mod util;

use util::{Dir, run};

#[test]
fn help_and_version_go_to_standard_output() {
    let dir = Dir::new();
    let help = run(dir.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(help.stdout.contains("skynet CONFIG"), "{}", help.stdout);
    let version = run(dir.path(), &["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(version.stdout.starts_with("skynet "), "{}", version.stdout);
    assert_eq!(version.stderr, "");
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let dir = Dir::new();
    let run = run(dir.path(), &["--frobnicate"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(run.stderr.contains("--frobnicate"), "{}", run.stderr);
}

#[test]
fn a_script_runs_with_its_arguments() {
    let dir = Dir::new();
    dir.write("s.lua", "print(_VERSION, ...) print(arg[0], #arg)");
    let run = run(dir.path(), &["lua", "s.lua", "one", "two words"]);
    assert_eq!(run.stdout, "Lua 5.5\tone\ttwo words\ns.lua\t2\n");
    assert_eq!(run.status.code(), Some(0));
}

#[test]
fn a_script_that_fails_gives_a_traceback_and_exit_code_1() {
    let dir = Dir::new();
    dir.write("s.lua", "local function f()\n error 'boom'\nend\nf()");
    let failed = run(dir.path(), &["lua", "s.lua"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        failed
            .stderr
            .starts_with("skynet: s.lua:2: boom\nstack traceback:"),
        "{}",
        failed.stderr
    );
    let missing = run(dir.path(), &["lua", "none.lua"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stderr.contains("none.lua"), "{}", missing.stderr);
    dir.write("bad.lua", "x = = 1");
    let broken = run(dir.path(), &["lua", "bad.lua"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        broken.stderr.contains("bad.lua:1: unexpected symbol"),
        "{}",
        broken.stderr
    );
}

/// Text and exit code of configs that cannot be used (spec/vectors/core-config.json).
#[test]
fn config_errors_have_upstreams_texts() {
    for (config, stderr) in [
        (
            "a = \"$NO_SUCH_VARIABLE_X\"",
            "[skynet config]:2: os.getenv() failed: NO_SUCH_VARIABLE_X\n",
        ),
        (
            "include \"sub/none\"",
            "[skynet config]:17: ./sub/none: No such file or directory\n",
        ),
        ("thread = 0", "Invalid thread 0 , should be in [1,1024]\n"),
        (
            "thread = 1025",
            "Invalid thread 1025 , should be in [1,1024]\n",
        ),
        (
            "thread = \"x\"",
            "Invalid thread 0 , should be in [1,1024]\n",
        ),
        ("t = {}", "Invalid config table key = t\n"),
    ] {
        let dir = Dir::new();
        dir.write("config", config);
        let run = run(dir.path(), &["config"]);
        assert_eq!(run.stderr, stderr, "{config}");
        assert_eq!(run.status.code(), Some(1), "{config}");
    }
}

#[test]
fn a_missing_or_broken_config_is_named() {
    let dir = Dir::new();
    let missing = run(dir.path(), &["none/config"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        missing
            .stderr
            .contains("none/config: No such file or directory"),
        "{}",
        missing.stderr
    );
    dir.write("config", "this is not Lua");
    let broken = run(dir.path(), &["config"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        broken.stderr.contains("config:1: syntax error"),
        "{}",
        broken.stderr
    );
}

/// A node without its system services is of no use: it ends, and says so by its exit code.
#[test]
fn a_bootstrap_that_fails_ends_the_node_with_1() {
    let dir = Dir::new();
    dir.write("broken.lua", "this is not Lua");
    for (config, said) in [
        // No cmaster and cslave on this node.
        ("harbor = 1", "only harbor = 0 (a single node) is supported"),
        ("harbor = 0 standalone = 1", "standalone must not be set"),
        ("harbor = 0 bootstrap = \"snlua nosuch\"", "nosuch"),
        ("harbor = 0 bootstrap = \"snlua\"", "lua loader error"),
        (
            "harbor = 0 bootstrap = \"snlua broken\" luaservice = \"./?.lua\"",
            "broken.lua:1: syntax error",
        ),
        (
            "harbor = 0 lualoader = \"./no/such.lua\"",
            "Can't load ./no/such.lua",
        ),
    ] {
        dir.write("config", config);
        let node = run(dir.path(), &["config"]);
        assert_eq!(node.status.code(), Some(1), "{config}: {}", node.stdout);
        assert!(node.stdout.contains(said), "{config}: {}", node.stdout);
    }
}

#[test]
fn an_unknown_module_stops_the_start() {
    let dir = Dir::new();
    dir.write("config", "bootstrap = \"nosuch foo bar\"\nharbor = 0");
    let bootstrap = run(dir.path(), &["config"]);
    assert_eq!(bootstrap.status.code(), Some(1));
    assert!(
        bootstrap
            .stdout
            .contains("[:00000000] Bootstrap error : nosuch foo bar"),
        "{}",
        bootstrap.stdout
    );
    assert!(bootstrap.stderr.contains("nosuch"), "{}", bootstrap.stderr);
    dir.write("config", "logservice = \"nosuch\"\nharbor = 0");
    let logger = run(dir.path(), &["config"]);
    assert_eq!(logger.status.code(), Some(1));
    assert!(
        logger.stderr.starts_with("Can't launch nosuch service"),
        "{}",
        logger.stderr
    );
}

#[test]
fn a_log_file_that_cannot_be_opened_stops_the_start() {
    let dir = Dir::new();
    dir.write("config", "harbor = 0\nlogger = \"./no/such/dir/log\"");
    let run = run(dir.path(), &["config"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(
        run.stderr.starts_with("Can't launch logger service"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("no/such/dir/log"), "{}", run.stderr);
}

/// What is wrong with a service is said in the log, and the node lives.
#[test]
fn broken_services_are_reported() {
    let dir = Dir::new();
    dir.write("syntax.lua", "x = = 1");
    dir.write(
        "start.lua",
        "require('skynet').start(function() error 'no luck' end)",
    );
    dir.write("chunk.lua", "error 'bad chunk'");
    dir.service(
        "local skynet = require 'skynet' require 'skynet.manager'
        skynet.start(function()
            for _, name in ipairs { 'syntax', 'start', 'chunk', 'missing' } do
                skynet.error('launch', name, pcall(skynet.newservice, name))
            end
            skynet.error('module', skynet.launch('nosuch', 'x'))
            skynet.abort()
        end)",
        "",
    );
    let run = run(dir.path(), &["config"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stdout);
    for text in [
        "./syntax.lua:1: unexpected symbol near '='",
        "init service failed: ",
        "start.lua:1: no luck",
        "chunk.lua:1: bad chunk",
        "cannot open ./missing.lua",
        "launch syntax false",
        "launch start false",
        "launch chunk false",
        "launch missing false",
    ] {
        assert!(run.stdout.contains(text), "no {text:?} in:\n{}", run.stdout);
    }
}
