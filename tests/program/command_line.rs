//! Flags, variables and the file; `--check`, `--help`, exit codes.

use std::net::TcpListener;

use crate::world::{Folder, run};

#[test]
fn the_variables_of_the_node_server_are_honoured() {
    for (variables, part) in [
        (&[][..], "ws, port 4500 of all addresses"),
        (&[("SYMPLE_PORT", "4600")][..], "port 4600"),
        (&[("SYMPLE_PORT", "4600"), ("PORT", "4700")][..], "port 4700"),
        (&[("SYMPLE_AUTHENTICATION", "false")][..], "admission       everyone"),
        (&[("SYMPLE_DYNAMIC_ROOMS", "false")][..], "fixed"),
        (&[("SYMPLE_DYNAMIC_ROOMS", "yes")][..], "dynamic"),
        (&[("SYMPLE_SESSION_TTL", "30")][..], "extended to 1800 s by activity"),
        (&[("SYMPLE_SESSION_TTL", "-1")][..], "not extended"),
        (&[("SYMPLE_SSL_ENABLED", "1"), ("HOME", "/home/me")][..], "wss, port 4500"),
        (
            &[("SYMPLE_SSL_KEY", "k"), ("SYMPLE_SSL_CERT", "c"), ("SYMPLE_SSL_ENABLED", "false")][..],
            "given, but not used: ssl_enabled is off",
        ),
    ] {
        let (code, out, err) = run(&["serve", "--check"], variables);
        assert_eq!(code, 0, "{variables:?}: {err}");
        assert!(out.contains(part), "{variables:?}: {out}");
    }
}

#[test]
fn redis_is_used_or_its_absence_is_reported() {
    for (variables, url, named) in [
        (&[("SYMPLE_AUTHENTICATION", "true")][..], "redis://localhost:6379", "sessions in Redis"),
        (&[("REDIS_URL", "redis://:secret@r:1/2")][..], "redis://…@r:1/2", "(REDIS_URL)"),
        (&[("SYMPLE_REDIS_HOST", "r"), ("SYMPLE_REDIS_PROTOCOL", "rediss")][..], "rediss://r:6379", "_HOST)"),
        (&[("SYMPLE_REDIS_PORT", "7")][..], "redis://localhost:7", "(SYMPLE_REDIS_PORT)"),
    ] {
        let (code, out, err) = run(&["serve", "--check"], variables);
        assert!(!out.contains("secret") && !err.contains("secret"));
        if cfg!(feature = "redis") {
            assert!(code == 0 && out.contains(url), "{variables:?}: {out}{err}");
        } else {
            assert!(code == 78 && err.contains(named) && err.contains("feature `redis`"), "{err}");
        }
    }
}

#[test]
#[cfg(feature = "redis")]
fn the_limits_of_redis_are_settings() {
    let url = &[("REDIS_URL", "redis://r")][..];
    for (args, variables, queue) in [
        (&["serve", "--check"][..], url, "16777216 bytes, kept for 30 s"),
        (
            &["serve", "--check", "--redis-queue", "4M", "--redis-keep", "2.5"],
            url,
            "4194304 bytes, kept for 2.5 s",
        ),
        (
            &["serve", "--check"],
            &[("REDIS_URL", "redis://r"), ("SYMPLE_REDIS_KEEP", "60"), ("SYMPLE_REDIS_QUEUE", "64K")],
            "65536 bytes, kept for 60 s",
        ),
    ] {
        let (code, out, err) = run(args, variables);
        assert!(code == 0 && out.contains(queue), "{args:?}: {out}{err}");
    }
    assert!(!run(&["serve", "--check"], &[]).1.contains("kept for"), "without Redis nothing is kept");
    let (code, _, err) = run(&["serve", "--check", "--redis-keep", "0"], &[]);
    assert!(code == 64 && err.contains("--redis-keep: must be a number of seconds"), "{err}");
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let folder = Folder::new();
    let file = folder.write("symple.toml", "port = 1\nqueue = '64K'\nrooms = ['public', 'team']\n");
    let check = |args: &[&str], variables| {
        let (code, out, err) = run(&[&["serve", "--check", "--config", &file], args].concat(), variables);
        assert_eq!(code, 0, "{err}");
        out
    };
    let out = check(&[], &[]);
    assert!(out.contains("port 1 ") && out.contains("65536 bytes") && out.contains("public, team"), "{out}");
    assert!(check(&[], &[("PORT", "2")]).contains("port 2 "));
    let out = check(&["--port", "3"], &[("PORT", "2")]);
    assert!(out.contains("port 3 ") && out.contains("(--port)") && out.contains("symple.toml)"), "{out}");
    let (_, out, _) = run(&["serve", "--check"], &[("SYMPLE_CONFIG", &file)]);
    assert!(out.contains("port 1 "), "{out}");
}

#[test]
fn errors_have_an_exit_code_and_a_suggestion() {
    let folder = Folder::new();
    let key = folder.write("key.toml", "max_conections = 5\n");
    let broken = folder.write("broken.toml", "port = \n");
    let junk = folder.write("junk.pem", "not a certificate");
    for (args, code, part) in [
        (&["sevre"][..], 64, "did you mean \"serve\"?"),
        (&["serve", "--prot", "1"][..], 64, "did you mean \"--port\"?"),
        (&["serve", "--port", "x"][..], 64, "--port: must be a port"),
        (&["serve", "--port"][..], 64, "--port: missing value"),
        (
            &["serve", "--listen", "xyz"][..],
            64,
            "--listen: xyz is not an IP address; use one of this machine, or `all`",
        ),
        (&["serve", "here"][..], 64, "unexpected argument \"here\""),
        (&["serve", "--config", &key][..], 78, "did you mean \"max_connections\"?"),
        (&["serve", "--config", &broken][..], 78, "broken.toml is not valid TOML"),
        (&["serve", "--config", "/nowhere.toml"][..], 66, "/nowhere.toml"),
        (&["serve", "--check", "--ssl-enabled", "--ssl-cert", &junk][..], 78, "without ssl_key"),
        (&["serve", "--check", "--queue", "80M"], 78, "must not exceed queues"),
        (
            &["serve", "--check", "--ssl-enabled", "--ssl-cert", &junk, "--ssl-key", &junk][..],
            78,
            "not a PEM",
        ),
        (&["serve", "--check", "--ssl-enabled", "--ssl-cert", "/no", "--ssl-key", "/no"][..], 66, "/no"),
        (&["serve", "--ssl-enabled"][..], 78, "--state-dir"),
        (&["serve", "--listen", "192.0.2.1"][..], 69, "192.0.2.1 is not an address of this machine"),
    ] {
        let (found, out, err) = run(args, &[]);
        assert!(found == code && err.contains(part), "{args:?}: {found} {out}{err}");
    }
    let (code, _, err) = run(&["serve"], &[("PORT", "x"), ("SYMPLE_RATE", "fast")]);
    assert!(
        code == 78 && err.contains("PORT: ") && err.contains("SYMPLE_RATE: "),
        "all errors are reported at once: {err}"
    );
    // Other programs' variables may begin with our name, so a misspelled one is no error; the check reports it
    // nevertheless.
    let (code, _, err) = run(&["serve", "--check"], &[("SYMPLE_AUTHENTICATON", "true")]);
    assert!(code == 0 && err.contains("did you mean SYMPLE_AUTHENTICATION?"), "{err}");
}

#[test]
fn a_certificate_without_tls_is_an_error_unless_tls_is_off() {
    let folder = Folder::new();
    let file = folder.write("symple.toml", "ssl_key = 'k'\n");
    let off = folder.write("off.toml", "ssl_key = 'k'\nssl_enabled = false\n");
    let cert = &["--ssl-cert", "c"][..];
    const COMMANDS: &[&[&str]] = &[
        &["serve", "--check"],
        #[cfg(feature = "camera-gst")]
        &["camera", "--check", "--size", "320x240"],
        #[cfg(all(feature = "camera-gst", feature = "relay"))]
        &["relay", "--check"],
    ];
    for command in COMMANDS {
        let fails = |args: &[&str], variables, code, place: &str| {
            let (found, out, err) = run(&[*command, args].concat(), variables);
            assert!(found == code && err.contains(place), "{command:?} {args:?}: {found} {out}{err}");
        };
        fails(cert, &[], 64, "--ssl-cert is not used without TLS; add --ssl-enabled, or --no-ssl-enabled");
        fails(
            &[],
            &[("SYMPLE_SSL_CERT", "c")],
            78,
            "SYMPLE_SSL_CERT is not used without TLS; add SYMPLE_SSL_ENABLED=true",
        );
        fails(
            &["--config", &file],
            &[],
            78,
            "symple.toml: \"ssl_key\" is not used without TLS; add ssl_enabled = true",
        );
        let works = |args: &[&str], variables| {
            let (code, _, err) = run(&[*command, args].concat(), variables);
            assert_eq!(code, 0, "{command:?} {args:?}: {err}");
        };
        works(&["--ssl-cert", "c", "--no-ssl-enabled"], &[]);
        works(&[], &[("SYMPLE_SSL_CERT", "c"), ("SYMPLE_SSL_ENABLED", "0")]);
        works(&["--config", &off], &[]);
    }
}

#[test]
fn a_secret_among_the_arguments_causes_a_warning() {
    for (args, cure) in [
        (&["serve", "--check", "--token", "hunter2"][..], "SYMPLE_TOKEN or the file of --config"),
        (&["serve", "--check", "--ice-servers", "[{\"credential\":\"hunter2\"}]"], "SYMPLE_ICE_SERVERS or"),
        #[cfg(feature = "redis")]
        (&["serve", "--check", "--redis-url", "redis://:hunter2@r"], "SYMPLE_REDIS_URL or"),
        #[cfg(feature = "redis")]
        (&["emit", "--redis-url", "redis://:hunter2@r"], "SYMPLE_REDIS_URL or"),
        (
            &["watch", "ws://127.0.0.1:1", "--attempts", "1", "--log", "warn", "--token", "hunter2"],
            "SYMPLE_TOKEN\n",
        ),
        #[cfg(feature = "camera-gst")]
        (
            &["camera", "--check", "--source", "rtsp://me:hunter2@192.0.2.1/"],
            "SYMPLE_SOURCE or the file of --config",
        ),
        #[cfg(feature = "camera-gst")]
        (&["camera", "--check", "--source", "rtsp://192.0.2.1/user=me&password=hunter2"], "SYMPLE_SOURCE or"),
    ] {
        let (_, out, err) = run(args, &[]);
        assert!(err.contains("every user of this machine can read") && err.contains(cure), "{args:?}: {err}");
        assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{args:?}: {out}{err}");
    }
    let (_, _, err) = run(&["serve", "--check"], &[("SYMPLE_TOKEN", "hunter2")]);
    assert!(!err.contains("every user"), "{err}");
}

#[test]
fn help_names_every_command_and_setting() {
    let (code, out, _) = run(&[], &[]);
    assert!(code == 0 && out.contains("serve") && out.contains("Exit codes"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 100), "lines fit a terminal: {out}");
    assert_eq!(run(&["--help"], &[]), run(&[], &[]));
    let (code, out, _) = run(&["serve", "--help"], &[]);
    assert!(code == 0 && out.contains("--max-connections N") && out.contains("/metrics"), "{out}");
    assert_eq!(run(&["help", "serve"], &[]).1, out);
    assert_eq!(run(&["--version"], &[]).1, concat!("symple ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_deep_check_tries_the_port_and_the_certificate() {
    let (code, out, err) = run(&["serve", "--check=deep", "--listen", "127.0.0.1", "--port", "0"], &[]);
    assert!(code == 0 && out.contains("  ok      port        127.0.0.1:"), "{out}{err}");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let folder = Folder::new();
    let junk = folder.write("junk.pem", "not a certificate");
    let ssl = ["--ssl-enabled", "--ssl-cert", &junk, "--ssl-key", &junk];
    let args = [&["serve", "--check=deep", "--listen", "127.0.0.1", "--port", &port], &ssl[..]].concat();
    let (code, out, err) = run(&args, &[]);
    assert_eq!(code, 78, "{out}{err}");
    assert!(out.contains("  FAILED  certificate") && out.contains("  FAILED  port"), "{out}");
    assert!(err.contains("these checks failed: certificate, port"), "{err}");
    let (code, out, _) = run(&["serve", "--check", "--listen", "127.0.0.1", "--port", &port], &[]);
    assert!(code == 0 && !out.contains("tried:"), "a plain check opens nothing: {out}");
    let (code, _, err) = run(&["serve", "--check=shallow"], &[]);
    assert!(code == 64 && err.contains("--check=deep"), "{err}");
    let (code, _, err) = run(&["watch", "--check"], &[]);
    assert!(code == 64 && err.contains("unknown flag --check"), "{err}");
}
