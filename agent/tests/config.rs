//! What is said of a configuration that is not good, and what an empty one means.

use std::path::Path;
use std::time::Duration;

use cordon_agent::config::Config;
use cordon_sensor::{FilesConfig, Mode, Scope};

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/cordon/agent.toml"), text).map_err(|e| cordon_agent::chain(&e))
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.state_dir, Path::new("/var/lib/cordon"));
    assert_eq!(config.socket(), Path::new("/run/cordon/agent.sock"));
    assert_eq!(config.model_dir, Path::new("/usr/share/cordon/model"));
    assert_eq!(config.heartbeat, Duration::from_secs(5));
    assert_eq!(config.sensor.scope, Scope::Host);
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let shipped = include_str!("../../packaging/agent.toml");
    assert_eq!(parse(shipped).unwrap(), Config::default());
}

#[test]
fn every_key_is_read() {
    let config = parse(
        "version = 1\nstate_dir = \"/a\"\nrun_dir = \"/b\"\n[sensor]\nscope = \"cgroup:web.slice\"\nmode = \"proc\"\n\
         ring_bytes = 65536\n[sensor.files]\ndefaults = false\nwatched = [\"/opt/app/conf\"]\nsecrets = [\"/opt/app/*.key\"]\n\
         decoys = [\"/srv/passwords.txt\"]\n[model]\ndir = \"/c\"\n[rules]\ndir = \"/d\"\nembedded = false\n[spool]\nmax_bytes = 1048576\n[uplink]\nheartbeat_seconds = 1\n",
    )
    .unwrap();
    assert_eq!(config.state_dir, Path::new("/a"));
    assert_eq!(config.run_dir, Path::new("/b"));
    assert_eq!(config.sensor.scope, Scope::Cgroup("web.slice".into()));
    assert_eq!(config.sensor.mode, Mode::Proc);
    assert_eq!(config.sensor.ring_bytes, 65536);
    let files = FilesConfig {
        defaults: false,
        watched: vec!["/opt/app/conf".into()],
        secrets: vec!["/opt/app/*.key".into()],
        decoys: vec!["/srv/passwords.txt".into()],
    };
    assert_eq!(config.sensor.files, files);
    assert_eq!(config.model_dir, Path::new("/c"));
    assert_eq!(config.rules_dir, Path::new("/d"));
    assert!(!config.rules_embedded);
    assert_eq!(config.spool_max_bytes, 1 << 20);
    assert_eq!(config.heartbeat, Duration::from_secs(1));
}

#[test]
fn what_is_wrong_is_named_with_file_key_and_remedy() {
    let cases = [
        (
            "[sensor]\nscope = \"host\"\nmood = \"auto\"\n",
            "configuration /etc/cordon/agent.toml, line 3: unknown field `mood`, expected one of `scope`, `mode`, `ring_bytes`, `files`",
        ),
        (
            "[sensro]\n",
            "configuration /etc/cordon/agent.toml, line 1: unknown field `sensro`, expected one of `version`, \
             `state_dir`, `run_dir`, `sensor`, `model`, `judge`, `rules`, `spool`, `uplink`",
        ),
        (
            "[sensor]\nmode = \"magic\"\n",
            "configuration /etc/cordon/agent.toml, line 2: unknown variant `magic`, expected one of `auto`, `ebpf`, `proc`",
        ),
        (
            "[sensor]\nscope = \"pod\"\n",
            "configuration /etc/cordon/agent.toml: sensor.scope is \"pod\", wanted \"host\", \"pidns\" or \"cgroup:PATH\"",
        ),
        (
            "[sensor.files]\nwatch = []\n",
            "configuration /etc/cordon/agent.toml, line 2: unknown field `watch`, expected one of `defaults`, `watched`, \
             `secrets`, `decoys`",
        ),
        (
            "[sensor.files]\nsecrets = [\"etc/shadow\"]\n",
            "configuration /etc/cordon/agent.toml: sensor.files.secrets has \"etc/shadow\", wanted absolute paths below / \
             without ..",
        ),
        (
            "[sensor.files]\ndecoys = [\"/\"]\n",
            "configuration /etc/cordon/agent.toml: sensor.files.decoys has \"/\", wanted absolute paths below / without ..",
        ),
        (
            "version = 2\n",
            "configuration /etc/cordon/agent.toml: version is 2, this agent reads version 1",
        ),
        (
            "state_dir = \"var\"\n",
            "configuration /etc/cordon/agent.toml: state_dir is var, wanted an absolute path",
        ),
        (
            "[uplink]\nheartbeat_seconds = 0\n",
            "configuration /etc/cordon/agent.toml: uplink.heartbeat_seconds is 0, wanted 1 to 300",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(parse(text).unwrap_err(), wanted, "for {text:?}");
    }
}

#[test]
fn a_list_of_files_is_bounded() {
    let paths = |count: usize| {
        let paths: Vec<String> = (0..count).map(|n| format!("\"/srv/{n}\"")).collect();
        format!("[sensor.files]\nwatched = [{}]\n", paths.join(","))
    };
    assert_eq!(
        parse(&paths(1024)).unwrap().sensor.files.watched.len(),
        1024
    );
    let error = parse(&paths(1025)).unwrap_err();
    assert!(
        error.ends_with("sensor.files.watched has 1025 paths, wanted at most 1024"),
        "{error}"
    );
}

#[test]
fn a_file_that_was_named_must_exist_and_the_default_one_need_not() {
    let missing = Config::load(Some(Path::new("/nonexistent/agent.toml"))).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "configuration /nonexistent/agent.toml does not exist"
    );
}
