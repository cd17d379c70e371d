//! What `deploy/` holds fits the program: commands, paths, ports and probes; and it is hardened.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use yaml_rust2::{Yaml, YamlLoader};

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap()
}

fn help(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_conversion-relay"))
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(done.status.success(), "{arguments:?} is a command");
    String::from_utf8(done.stdout).unwrap()
}

const UNIT: &str = "deploy/systemd/conversion-relay.service";

/// Keys of a section, each with its values in order.
fn unit() -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = text(UNIT);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        keys.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    keys
}

#[test]
fn the_unit_starts_this_program_and_lets_it_do_little() {
    let unit = unit();
    let value = |key: &str| unit.get(key).map(|values| values.join(" ")).unwrap_or_default();
    // `serve` says itself what is wrong, and starts where `check` fails for an ended API version.
    assert!(!unit.contains_key("ExecStartPre"), "nothing keeps the relay down but itself");
    let line = value("ExecStart");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], "/usr/local/bin/conversion-relay");
    let help = help(&words[1..2]);
    for option in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{option}");
    }
    assert!(value("ExecStart").ends_with("--data /var/lib/conversion-relay"));
    assert_eq!(value("StateDirectory"), "conversion-relay", "the only folder that is written");
    assert_eq!(value("RestartPreventExitStatus"), "78", "an invalid configuration stays invalid");
    for (key, expected) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("PrivateUsers", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectControlGroups", "yes"),
        ("ProtectClock", "yes"),
        ("ProtectHostname", "yes"),
        ("ProtectProc", "invisible"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("LockPersonality", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("SystemCallArchitectures", "native"),
        ("CapabilityBoundingSet", ""),
        ("LimitCORE", "0"),
        ("MemorySwapMax", "0"),
        ("UMask", "0077"),
    ] {
        assert!(unit.contains_key(key), "{key} is missing");
        assert_eq!(value(key), expected, "{key}");
    }
    assert!(value("SystemCallFilter").starts_with("@system-service"));
}

#[test]
fn systemd_understands_the_unit() {
    let Ok(done) = Command::new("systemd-analyze").arg("verify").arg(file(UNIT)).output() else {
        println!("skipped: there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&done.stderr);
    let problems: Vec<&str> = said
        .lines()
        // The program is not installed where tests run.
        .filter(|line| line.contains("conversion-relay") && !line.contains("is not executable"))
        .collect();
    assert!(problems.is_empty(), "{problems:?}");
}

fn manifests() -> Vec<Yaml> {
    YamlLoader::load_from_str(&text("deploy/kubernetes/relay.yaml")).unwrap()
}

fn of_kind<'a>(manifests: &'a [Yaml], kind: &str) -> &'a Yaml {
    manifests.iter().find(|one| one["kind"].as_str() == Some(kind)).unwrap()
}

fn strings(yaml: &Yaml) -> Vec<&str> {
    yaml.as_vec().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

#[test]
fn the_manifests_run_this_program_with_what_it_needs_and_no_more() {
    let manifests = manifests();
    for one in &manifests {
        assert!(one["apiVersion"].as_str().is_some() && one["metadata"]["name"].as_str().is_some());
    }
    let set = of_kind(&manifests, "StatefulSet");
    assert_eq!(set["spec"]["replicas"].as_i64(), Some(1), "a data folder has one owner");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = strings(&container["args"]);
    let help = help(&arguments[..1]);
    for option in arguments.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{option}");
    }

    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"].as_str(), Some("RuntimeDefault"));
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
    let context = &container["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(context["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"]);

    // What is written is a volume, what is read is mounted: the paths of the arguments.
    let mounts = container["volumeMounts"].as_vec().unwrap();
    let is_read_only = |path: &str| {
        let mount = mounts.iter().find(|mount| mount["mountPath"].as_str() == Some(path)).unwrap();
        mount["readOnly"].as_bool().unwrap_or(false)
    };
    let after = |option| arguments[arguments.iter().position(|word| *word == option).unwrap() + 1];
    assert!(is_read_only(after("--config")) && !is_read_only(after("--data")));
    let claims = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claims["metadata"]["name"].as_str(), Some("data"));
    // The image's own paths.
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains(&format!("\"{}\"", after("--config"))));
    assert!(dockerfile.contains(&format!("VOLUME [\"{}\"]", after("--data"))));
    let user = pod["securityContext"]["runAsUser"].as_i64().unwrap();
    assert!(dockerfile.contains(&format!("USER {user}:")));
}

/// No engine builds it here: what it copies is there, and what it starts is understood.
#[test]
fn the_image_copies_what_there_is_and_starts_what_there_is() {
    let dockerfile = text("Dockerfile");
    let ignored = text(".dockerignore");
    let instructions = |name: &str| -> Vec<String> {
        let lines = dockerfile.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(|rest| rest.trim().to_owned()).collect()
    };
    let copied: Vec<String> = instructions("COPY ")
        .iter()
        .filter(|copy| !copy.starts_with("--from"))
        .flat_map(|copy| {
            let words: Vec<String> = copy.split_whitespace().map(str::to_owned).collect();
            words[..words.len() - 1].to_vec()
        })
        .collect();
    for path in &copied {
        assert!(file(path).exists(), "{path} is not there");
        assert!(ignored.lines().any(|line| line == format!("!{path}")), "{path} is left out");
    }
    // The sources name files outside src only below config.
    for needed in ["Cargo.toml", "Cargo.lock", "src", "config"] {
        assert!(copied.iter().any(|path| path == needed), "{needed} is not copied");
    }
    let command: Vec<String> = serde_json::from_str(&instructions("CMD ")[0]).unwrap();
    assert_eq!(command[0], "serve");
    let probe = instructions("HEALTHCHECK ")[0].split_once("CMD ").unwrap().1.to_owned();
    let probe: Vec<String> = serde_json::from_str(&probe).unwrap();
    for words in [&command[..], &probe[1..]] {
        let help = help(&[&words[0]]);
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{option} ")), "{option} is no option: {help}");
        }
    }
    // What is published listens outside the container: the line that is replaced is there.
    let line = "public = \"127.0.0.1:8080\"";
    assert!(text("config/relay.toml").lines().any(|found| found.starts_with(line)));
    assert!(dockerfile.contains(&format!("s/^{line}/public = \"0.0.0.0:8080\"/")));
    assert_eq!(instructions("EXPOSE "), ["8080"]);
}

#[test]
fn probes_services_and_policy_name_the_ports_that_are_there() {
    let manifests = manifests();
    let container =
        &of_kind(&manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"][0];
    let ports: BTreeMap<&str, i64> = container["ports"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|port| (port["name"].as_str().unwrap(), port["containerPort"].as_i64().unwrap()))
        .collect();
    // The defaults of relay.toml.
    assert_eq!(ports, BTreeMap::from([("admin", 8081), ("public", 8080)]));
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        let get = &container[probe]["httpGet"];
        assert_eq!((get["path"].as_str(), get["port"].as_str()), (Some(path), Some("public")));
    }
    for service in manifests.iter().filter(|one| one["kind"].as_str() == Some("Service")) {
        for port in service["spec"]["ports"].as_vec().unwrap() {
            assert!(ports.contains_key(port["targetPort"].as_str().unwrap()), "{port:?}");
        }
    }
    let policy = &of_kind(&manifests, "NetworkPolicy")["spec"];
    assert_eq!(strings(&policy["policyTypes"]), ["Ingress", "Egress"]);
    let allowed: Vec<i64> = policy["ingress"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|rule| {
            assert!(!rule["from"].is_badvalue(), "nothing is open to everybody");
            rule["ports"][0]["port"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(allowed, [8080, 8081]);
    let world = &policy["egress"][1]["to"][0]["ipBlock"];
    for private in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"] {
        assert!(strings(&world["except"]).contains(&private), "{private}");
    }
    let labels = |one: &Yaml| one["app.kubernetes.io/name"].as_str().map(str::to_owned);
    for one in &manifests {
        let selected = [
            &one["spec"]["selector"],
            &one["spec"]["selector"]["matchLabels"],
            &one["spec"]["podSelector"]["matchLabels"],
        ];
        for selector in selected.into_iter().filter_map(labels) {
            assert_eq!(selector, "conversion-relay");
        }
    }
}

#[test]
fn the_security_page_covers_what_it_promises() {
    let page = text("SECURITY.md");
    for heading in ["## Reporting", "## Threat model", "## What it does not do"] {
        assert!(page.contains(heading), "{heading}");
    }
    // Every guard that it names is there.
    for path in page.split('`').skip(1).step_by(2).filter(|word| {
        word.contains('/') && (word.ends_with(".rs") || word.ends_with(".c") || word.ends_with('/'))
    }) {
        assert!(file(path).exists(), "SECURITY.md names {path}, which is not there");
    }
}
