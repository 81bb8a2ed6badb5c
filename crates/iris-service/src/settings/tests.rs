use std::collections::BTreeMap;
use std::path::Path;

use iris_core::{InvalidSetting, Section};
use serde::Deserialize;

use super::*;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    interval_ms: u64,
    name: String,
    #[serde(deserialize_with = "list")]
    partitions: Vec<i32>,
    inner: Inner,
    free: BTreeMap<String, String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Inner {
    #[serde(deserialize_with = "iris_core::one_of")]
    mode: Mode,
    secret: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Slow,
    Fast,
}

impl Section for Sample {
    const NAME: &'static str = "producer";

    fn validate(&self) -> Result<(), InvalidSetting> {
        match self.interval_ms {
            13 => Err(InvalidSetting::new(
                "interval_ms",
                "is 13: allowed is any other number",
            )),
            _ => Ok(()),
        }
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            interval_ms: 100,
            name: "a".into(),
            partitions: vec![],
            inner: Inner::default(),
            free: BTreeMap::new(),
        }
    }
}

struct Given {
    file: Option<&'static str>,
    environment: &'static [(&'static str, &'static str)],
    flags: Vec<Flag>,
}

impl Given {
    fn read(self) -> Result<Sample, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("iris.toml");
        let path = self.file.map(|text| {
            std::fs::write(&path, text).unwrap();
            path.as_path()
        });
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        Sources::merge(path, environment, self.flags)
            .and_then(|sources| sources.read())
            .map_err(|error| {
                error
                    .to_string()
                    .replace(&directory.path().display().to_string(), "DIR")
            })
    }
}

fn file(text: &'static str) -> Given {
    Given {
        file: Some(text),
        environment: &[],
        flags: vec![],
    }
}

fn environment(environment: &'static [(&'static str, &'static str)]) -> Given {
    Given {
        file: None,
        environment,
        flags: vec![],
    }
}

#[test]
fn flags_take_precedence_over_the_environment_the_file_and_the_defaults() {
    let text = "[producer]\ninterval_ms = 1\nname = \"file\"\npartitions = [1, 2]\n[producer.inner]\nmode = \"fast\"\n";
    let sample = Given {
        file: Some(text),
        environment: &[
            ("IRIS__PRODUCER__INTERVAL_MS", "2"),
            ("IRIS__PRODUCER__NAME", "0123"),
            ("IRIS_CONFIG", "x"),
        ],
        flags: Flag::new("--interval-ms", "producer.interval_ms", Some(3_u64))
            .into_iter()
            .collect(),
    };
    let sample = sample.read().unwrap();
    assert_eq!((sample.interval_ms, sample.name.as_str()), (3, "0123"));
    assert_eq!(sample.partitions, [1, 2]);
    assert_eq!(sample.inner.mode, Mode::Fast);
    assert_eq!(environment(&[]).read().unwrap().interval_ms, 100);
}

#[test]
fn a_list_in_the_environment_is_separated_by_commas() {
    assert_eq!(
        environment(&[("IRIS__PRODUCER__PARTITIONS", "0, 3,4")])
            .read()
            .unwrap()
            .partitions,
        [0, 3, 4]
    );
    assert_eq!(
        environment(&[("IRIS__PRODUCER__PARTITIONS", "")])
            .read()
            .unwrap()
            .partitions,
        [0; 0]
    );
}

#[test]
fn each_refusal_names_the_key_its_source_and_the_allowed_values() {
    let refusals = [
        file("[producer]\nname = \"x\"\nintervall_ms = 1\n").read(),
        file("[producre]\nname = \"x\"\n").read(),
        file("[producer]\ninterval_ms = \"soon\"\n").read(),
        file("[producer]\ninterval_ms = -1\n").read(),
        file("[producer.inner]\n\nmode = \"medium\"\n").read(),
        file("[producer]\npartitions = [0, \"x\"]\n").read(),
        file("[producer]\ninterval_ms = 13\n").read(),
        file("[producer\n").read(),
        file("[producer]\nname = \"x\"\ninterval_ms = 2.5\n").read(),
        file("[producer]\ninterval_ms = nan\n").read(),
        file("[producer]\ninterval_ms = 1e300\n").read(),
        file("[producer]\ninterval_ms = true\n").read(),
        file("[producer]\npartitions = [0, 1.5]\n").read(),
        file("[producer]\npartitions = [2147483648]\n").read(),
        file("[producer]\ninterval_ms = 18446744073709551616\n").read(),
        environment(&[("IRIS__PRODUCER__INTERVAL_MS", "soon")]).read(),
        environment(&[("IRIS__PRODUCER__INNER__COLOUR", "red")]).read(),
        environment(&[("IRIS__PRODUCER__PARTITIONS", "1,x")]).read(),
        environment(&[("IRIS__PRODUCER__INTERVAL_MS", "")]).read(),
        environment(&[("IRIS__PRODUCER__INTERVAL_MS", "-1")]).read(),
        environment(&[("IRIS__PRODUCER__INTERVAL_MS", "yes")]).read(),
        environment(&[("IRIS__PRODUCER__INTERVAL_MS", "18446744073709551616")]).read(),
        environment(&[("IRIS__PRODUCER", "x")]).read(),
        environment(&[("IRIS__PRODUCER__", "x")]).read(),
        environment(&[("IRIS__PRODUCRE__INTERVAL_MS", "1")]).read(),
        environment(&[("IRIS__PRODUCER_INTERVAL_MS", "1")]).read(),
        environment(&[("IRIS_PRODUCER_INTERVAL_MS", "1")]).read(),
        environment(&[("IRIS__PRODUCER__INNER_MODE", "fast")]).read(),
        Given {
            flags: Flag::new("--interval-ms", "producer.interval_ms", Some(13_u64))
                .into_iter()
                .collect(),
            ..environment(&[])
        }
        .read(),
    ];
    let refusals = refusals.map(|refusal| refusal.unwrap_err().trim_end().to_owned());
    insta::assert_snapshot!(refusals.join("\n---\n"));
}

#[test]
fn a_missing_settings_file_is_named() {
    let error =
        Sources::merge(Some(Path::new("/no/such.toml")), BTreeMap::new(), vec![]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read the settings file /no/such.toml: No such file")
    );
}

#[test]
fn an_excerpt_of_a_section_has_some_of_its_keys_and_refuses_invalid_values() {
    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Excerpt {
        name: String,
        #[serde(deserialize_with = "list")]
        partitions: Vec<i32>,
    }
    let excerpt = |partitions: &str| {
        let environment = [
            ("IRIS__PRODUCER__NAME", "b"),
            ("IRIS__PRODUCER__INTERVAL_MS", "7"),
            ("IRIS__PRODUCER__PARTITIONS", partitions),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sources = Sources::merge(None, environment.into(), vec![]).unwrap();
        let other: Excerpt = sources.excerpt("classifier").unwrap();
        assert_eq!(other, Excerpt::default());
        sources.excerpt::<Excerpt>("producer")
    };
    let expected = Excerpt {
        name: "b".to_owned(),
        partitions: vec![0, 3],
    };
    assert_eq!(excerpt("0,3").unwrap(), expected);
    let error = excerpt("x").unwrap_err().to_string();
    assert!(error.starts_with("producer.partitions"), "{error}");
    assert!(error.contains("IRIS__PRODUCER__PARTITIONS"), "{error}");
}
