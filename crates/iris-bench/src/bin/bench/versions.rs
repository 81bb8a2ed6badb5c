//! The machine, and the versions of everything that is measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use iris_testkit::workspace;

/// Returns the number of cores and the processor.
pub(crate) fn machine() -> anyhow::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("an unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores, {model}"))
}

/// Returns the versions of the contenders, the client and the compiler.
pub(crate) fn versions(peers: bool) -> anyhow::Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::from([
        ("iris".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("librdkafka".to_owned(), iris_kafka::client_version()),
        (
            "rustc".to_owned(),
            output(Command::new("rustc").arg("--version"))?,
        ),
    ]);
    if peers {
        let jars = Path::new("target/bench/peers");
        for (peer, jar) in [
            ("kafka-streams", "kafka-streams"),
            ("flink", "flink-streaming-java"),
        ] {
            let found = fs::read_dir(workspace().join(jars).join(peer).join("lib"))?
                .filter_map(Result::ok)
                .filter_map(|entry| entry.file_name().into_string().ok())
                .find_map(|name| {
                    Some(
                        name.strip_prefix(jar)?
                            .strip_suffix(".jar")?
                            .trim_matches('-')
                            .to_owned(),
                    )
                });
            versions.insert(peer.to_owned(), found.unwrap_or_default());
        }
    }
    Ok(versions)
}

/// Returns the standard output of a command.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8(command.output()?.stdout)?
        .trim()
        .to_owned())
}
