//! What a configuration may say, what is told of one that is wrong, and what the environment makes of it.

mod sample;

use std::path::Path;

use spindle_shared::paths::Service;

use super::load::list;
use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spindled.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), Service::User)
}

#[test]
fn nothing_is_as_good_as_defaults() {
    assert_eq!(load("").unwrap(), Config::default());
}

#[test]
fn errors_point_at_line_and_key() {
    let error = load("[lanes]\ncpu = 2\nspeed = 3\n").unwrap_err().to_string();
    assert!(error.contains("line 3: lanes.speed: there is no key `speed`; there are cpu"), "{error}");
    let error = load("[lanes]\ncpus = 2\n").unwrap_err().to_string();
    assert!(error.contains("line 2: lanes.cpus: there is no key `cpus`; did you mean `cpu`?"), "{error}");
    let error = load("[lane]\ncpu = 2\n").unwrap_err().to_string();
    assert!(error.contains("line 1: lane: there is no key `lane`; did you mean `lanes`?"), "{error}");
    let error = load("[lanes]\ncpu 2\n").unwrap_err().to_string();
    assert!(error.contains("line 2: "), "{error}");
    let error = load(
        "[stores.a]\nendpoint = \"https://a.example\"\nbucket = \"a:b\"\naccess_key = \"env:A_KEY\"\nsecret_key = \"env:A_KEY\"\n",
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("line 3: stores.a.bucket: "), "{error}");
    let error = load("[lanes]\ncpu = \"two\"\n").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    let error = load("[lanes]\ncpu = 0\n").unwrap_err().to_string();
    assert!(error.contains("lanes.cpu") && error.contains("1–1024"), "{error}");
}

#[test]
fn a_socket_that_is_open_to_others_spools() {
    let of = |text: &str, service| load(text).map(|config| (config.socket_mode(service), config.spools(service)));
    let spools = |text: &str| of(text, Service::User);
    assert_eq!(spools("").unwrap(), (0o600, false));
    assert_eq!(spools("[daemon]\nsocket_group = \"media\"\n").unwrap(), (0o660, true));
    assert_eq!(spools("[daemon]\nsocket_mode = \"0666\"\n").unwrap(), (0o666, true));
    // As it comes from the environment.
    assert_eq!(spools("[daemon]\nsocket_mode = 660\n").unwrap(), (0o660, true));
    assert_eq!(spools("[daemon]\nsocket_group = \"media\"\nsocket_mode = \"0600\"\n").unwrap(), (0o600, false));
    let system = |text: &str| of(text, Service::System);
    assert_eq!(system("").unwrap(), (0o660, true), "to those in its group");
    assert_eq!(system("[daemon]\nsocket_mode = \"0600\"\n").unwrap(), (0o600, true));
    let group = |text: &str, service| load(text).unwrap().admin_group(service);
    assert_eq!(group("", Service::User), None);
    assert_eq!(group("", Service::System).as_deref(), Some(daemon::ADMINISTRATORS));
    assert_eq!(group("[daemon]\nadmin_group = \"wheel\"\n", Service::System).as_deref(), Some("wheel"));
    for wrong in ["\"0777\"", "\"rw\"", "0o660", "true"] {
        let error = load(&format!("[daemon]\nsocket_mode = {wrong}\n")).unwrap_err().to_string();
        assert!(error.contains("0660") && error.contains("line 2"), "{error}");
    }
}

#[test]
fn own_profiles_are_checked_and_take_the_rest_from_balanced() {
    let config = load("[profiles.archive]\ncrf = 18\nfps = 60\nvideo_kbps = 8000\n").unwrap();
    let [archive] = config.profiles().try_into().unwrap();
    assert_eq!((archive.crf, archive.rate, archive.bit_rate, archive.width), (18, 60, 8_000_000, 1_280));
    for (wrong, told) in [
        ("[profiles.archive]\ncrf = 17\n", "crf = 17 is outside 18–28"),
        ("[profiles.balanced]\ncrf = 20\n", "`balanced` is built in"),
        ("[profiles.dynamic]\n", "`dynamic` is built in"),
        ("[profiles.\"a/b\"]\n", "a name is"),
        ("[profiles.archive]\nquality = 3\n", "quality"),
        ("[profiles.archive]\npreset = \"slowest\"\n", "slowest"),
    ] {
        let error = load(wrong).unwrap_err().to_string();
        assert!(error.contains(told), "{wrong}: {error}");
    }
}

#[test]
fn a_store_names_where_its_keys_are_and_never_the_keys() {
    let store = |endpoint: &str, key: &str| {
        let text = format!(
            "[stores.media]\nendpoint = \"{endpoint}\"\nbucket = \"talks\"\naccess_key = \"{key}\"\nsecret_key = \"{key}\"\n"
        );
        load(&text)
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "s3cret\n").unwrap();
    let config = store("https://s3.example", &format!("file:{}", file.display())).unwrap();
    let [opened] = config.stores().unwrap().try_into().unwrap();
    assert_eq!((opened.secret_key.told(), opened.region.as_str()), ("s3cret", "us-east-1"));
    std::fs::remove_file(file).unwrap();
    assert!(config.stores().unwrap_err().contains("stores.media"));
    for (endpoint, key, told) in [
        ("https://s3.example", "AKIAREALKEY", "never itself"),
        ("https://s3.example", "env:MEDIA", "_KEY, _SECRET"),
        ("ftp://s3.example", "env:A_KEY", "endpoint"),
        ("https://me:pw@s3.example", "env:A_KEY", "endpoint"),
    ] {
        let error = store(endpoint, key).unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains("REALKEY"), "{error}");
    }
}

#[test]
fn hosts_that_are_allowed_are_named_with_their_port() {
    assert_eq!(load("[remote]\nallow = [\"localhost:80\"]\n").unwrap().remote.allow, ["localhost:80"]);
    for wrong in ["localhost", "http://localhost:80", "Host:80", "a:b", ""] {
        let error = load(&format!("[remote]\nallow = [\"{wrong}\"]\n")).unwrap_err().to_string();
        assert!(error.contains("remote.allow"), "{wrong}: {error}");
    }
    assert_eq!(list("[\"a:1\"]"), Some(toml::Value::Array(vec![toml::Value::String("a:1".to_owned())])));
    assert_eq!((list("a"), list("[a")), (None, None));
}

#[test]
fn a_named_file_must_exist() {
    assert!(matches!(
        Config::load(Some(Path::new("/nonexistent/x.toml")), Service::User),
        Err(ConfigError::Read { .. })
    ));
}

#[test]
fn metrics_are_for_this_machine_unless_somebody_says_otherwise() {
    for listen in ["127.0.0.1:9469", "[::1]:9469"] {
        load(&format!("[metrics]\nlisten = \"{listen}\"\n")).unwrap();
    }
    for (listen, told) in
        [("0.0.0.0:9469", "open_to_network"), ("[::]:1", "open_to_network"), ("localhost", "no ADDRESS:PORT")]
    {
        let error = load(&format!("[metrics]\nlisten = \"{listen}\"\n")).unwrap_err().to_string();
        assert!(error.contains("line 2: metrics.listen: ") && error.contains(told), "{error}");
    }
    load("[metrics]\nlisten = \"0.0.0.0:9469\"\nopen_to_network = true\n").unwrap();
    load("[metrics]\nfile = \"spindle.prom\"\n").unwrap_err();
}

#[test]
fn every_key_may_come_from_the_environment() {
    let parse = |text: &str, variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(Path::new("/x.toml"), text, variables)
    };
    let config = parse(
        "[lanes]\ncpu = 2\nio = 3\n",
        &[
            ("SPINDLE_LANES__CPU", "7"),
            ("SPINDLE_REMOTE__ALLOW", "[\"a:1\"]"),
            ("SPINDLE_PROVIDERS__OPENAI__TRUSTED", "true"),
            ("SPINDLE_SOCKET", "/nothing/of/ours"),
        ],
    )
    .unwrap();
    assert_eq!((config.lanes.cpu, config.lanes.io, config.remote.allow.len()), (Some(7), 3, 1));
    assert!(config.providers["openai"].trusted);
    for (name, value, told) in [
        ("SPINDLE_LANES__CPU", "0", "SPINDLE_LANES__CPU: lanes.cpu: 0 is outside 1–1024"),
        ("SPINDLE_LANES__CPUS", "1", "did you mean `cpu`?"),
        ("SPINDLE_LANES__CPU", "two", "SPINDLE_LANES__CPU: lanes.cpu: "),
        ("SPINDLE_LANES__CPU__MORE", "2", "`cpu` is no section"),
    ] {
        let error = parse("[lanes]\ncpu = 2\n", &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(told), "{name}: {error}");
    }
}

#[test]
fn everything_that_is_out_of_range_is_told_at_once() {
    let error = load("[lanes]\ncpu = 0\n\n[housekeeping]\ntemporary_hours = 169\n").unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].contains("spindled.toml, line 2: lanes.cpu: 0 is outside 1–1024"), "{error}");
    assert!(lines[1].contains("line 5: housekeeping.temporary_hours: 169 is outside 1–168"), "{error}");
}
