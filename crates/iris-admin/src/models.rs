//! The commands about models: which there are, and which one is to be served.

use std::collections::BTreeMap;
use std::io::{Write, stdout};

use anyhow::{Context, anyhow};
use comfy_table::{Table, presets};
use iris_contract::registry::{Decision, Entry};
use iris_core::{Description, ModelVersion};
use iris_kafka::startup::{Need, connect};
use iris_registry::RegistryTopic;
use iris_registry::{Grounds, Recorded, Registered};
use iris_registry::{Registry, RegistryError};
use iris_service::{Service, UsageError};
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::ModelsCommand;
use crate::settings::Settings;
use crate::{NAME, answered};

/// The fewest digits of a version that are taken for the beginning of one.
const FEWEST_DIGITS: usize = 4;

/// Carries out a command.
///
/// # Errors
/// If the cluster refuses, or the registry does; [`UsageError`] if a version is none, or that of several models.
pub async fn run(
    command: ModelsCommand,
    settings: &Settings,
    service: &Service,
) -> anyhow::Result<()> {
    let (settings, stop) = (settings.clone(), service.stop.clone());
    tokio::task::spawn_blocking(move || carry_out(command, &settings, &stop)).await?
}

fn carry_out(
    command: ModelsCommand,
    settings: &Settings,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Settings { kafka, topics, .. } = settings;
    let wait = settings.service.wait_for_broker;
    let needs = [Need::read(&topics.models)];
    if connect(kafka, NAME, wait, stop, &mut |_| (), &needs)?.is_none() {
        return Ok(());
    }
    let topic = RegistryTopic::new(kafka, &topics.models, NAME);
    let grounds = |reason: String| Grounds {
        by: NAME.to_owned(),
        reason,
        figures: BTreeMap::new(),
    };
    match command {
        ModelsCommand::List { json } => {
            let registry = topic.read()?;
            if json {
                print_json(&Listing::of(&registry))
            } else {
                let mut out = stdout().lock();
                writeln!(out, "{}", models(&registry))?;
                if registry.decisions().next().is_some() {
                    let why = |decision: &Decision| decision.reason.clone();
                    writeln!(out, "\n{}", decisions(registry.decisions(), why))?;
                }
                Ok(())
            }
        }
        ModelsCommand::Show { version, json } => {
            let registry = topic.read()?;
            let version = match version {
                Some(digits) => resolve(&registry, &digits)?,
                None => registry
                    .champion()
                    .context("there is no champion: no classifier has been started yet")?,
            };
            let shown = Shown::of(&registry, version)?;
            if json {
                print_json(&shown)
            } else {
                let about = registry
                    .decisions()
                    .filter(|recorded| recorded.decision.version == version);
                let about = decisions(about, with_figures);
                Ok(write!(stdout(), "{shown}\n{about}\n")?)
            }
        }
        ModelsCommand::Answered(args) => answered::run(&args, settings, &topic),
        ModelsCommand::Promote {
            version,
            reason,
            json,
        } => {
            let registry = topic.read()?;
            let version = resolve(&registry, &version)?;
            // Only a model that can be made is promoted; classifiers would refuse any other.
            topic.load(&registry, version)?;
            let grounds = grounds(reason);
            decide(&topic, stop, json, &mut |registry| {
                registry.promote(version, grounds.clone())
            })
        }
        ModelsCommand::Rollback { reason, json } => {
            let grounds = grounds(reason);
            decide(&topic, stop, json, &mut |registry| {
                registry.roll_back(grounds.clone())
            })
        }
    }
}

fn decide(
    topic: &RegistryTopic,
    stop: &CancellationToken,
    json: bool,
    decide: &mut dyn FnMut(&Registry) -> Result<Vec<Entry>, RegistryError>,
) -> anyhow::Result<()> {
    let registry = topic.update(stop, decide)?;
    let latest = registry
        .decisions()
        .next_back()
        .context("the decision is not in the registry")?;
    if json {
        return print_json(&latest.decision);
    }
    Ok(writeln!(stdout(), "{}", announcement(&latest.decision))?)
}

/// A line about a decision that has made a champion.
fn announcement(decision: &Decision) -> String {
    let Decision {
        number,
        version,
        replaces,
        ..
    } = decision;
    let replaced = replaces.map_or_else(String::new, |version| format!(", replacing {version}"));
    format!("decision {number}: {version} is the champion{replaced}")
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(writeln!(
        stdout(),
        "{}",
        serde_json::to_string_pretty(value)?
    )?)
}

/// The model whose version begins with these digits.
fn resolve(registry: &Registry, digits: &str) -> Result<ModelVersion, UsageError> {
    if digits.len() < FEWEST_DIGITS {
        return Err(anyhow!(
            "`{digits}` is too short for the beginning of a version: give at least {FEWEST_DIGITS} digits"
        )
        .into());
    }
    let beginning = digits.to_lowercase();
    let found: Vec<ModelVersion> = registry
        .models()
        .keys()
        .copied()
        .filter(|version| version.to_string().starts_with(&beginning))
        .collect();
    match found[..] {
        [version] => Ok(version),
        [] => Err(anyhow!(
            "there is no model {digits}; `iris-admin models list` shows those there are"
        )
        .into()),
        _ => Err(anyhow!(
            "{} models have versions that begin with {digits}: give more digits",
            found.len()
        )
        .into()),
    }
}

/// The registry, as JSON.
#[derive(Serialize)]
struct Listing<'a> {
    champion: Option<ModelVersion>,
    /// In the order in which they were made.
    models: Vec<Shown<'a>>,
    decisions: Vec<Told<'a>>,
}

/// A decision, and when.
#[derive(Serialize)]
struct Told<'a> {
    time: Option<String>,
    #[serde(flatten)]
    decision: &'a iris_contract::registry::Decision,
}

/// A model, as JSON or as lines.
#[derive(Serialize)]
struct Shown<'a> {
    version: ModelVersion,
    is_champion: bool,
    made: Option<String>,
    /// Why it is refused.
    refused: Option<String>,
    #[serde(flatten)]
    about: Option<About<'a>>,
}

#[derive(Serialize)]
struct About<'a> {
    neighbors: usize,
    id: &'a str,
    features: &'a [String],
    label: &'a str,
    classes: &'a [String],
    lineage: &'a iris_core::Lineage,
}

impl<'a> Listing<'a> {
    fn of(registry: &'a Registry) -> Self {
        Self {
            champion: registry.champion(),
            models: in_order(registry)
                .into_iter()
                .map(|(version, model)| Shown::new(registry, version, model))
                .collect(),
            decisions: registry
                .decisions()
                .map(|recorded| Told {
                    time: time(recorded.timestamp),
                    decision: &recorded.decision,
                })
                .collect(),
        }
    }
}

impl<'a> Shown<'a> {
    fn of(registry: &'a Registry, version: ModelVersion) -> Result<Self, RegistryError> {
        let model = registry
            .model(version)
            .ok_or(RegistryError::NoSuchModel(version))?;
        Ok(Self::new(registry, version, model))
    }

    fn new(registry: &Registry, version: ModelVersion, model: &'a Registered) -> Self {
        let about = |description: &'a Description| About {
            neighbors: description.neighbors,
            id: &description.schema.id,
            features: &description.schema.features,
            label: &description.schema.label,
            classes: &description.classes,
            lineage: &description.lineage,
        };
        Self {
            version,
            is_champion: registry.champion() == Some(version),
            made: time(model.timestamp),
            refused: model.description.as_ref().err().map(ToString::to_string),
            about: model.description.as_ref().ok().map(about),
        }
    }
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let champion = if self.is_champion {
            ", the champion"
        } else {
            ""
        };
        writeln!(f, "model      {}{champion}", self.version)?;
        if let Some(time) = &self.made {
            writeln!(f, "made       {time}")?;
        }
        if let Some(refused) = &self.refused {
            writeln!(f, "refused    {refused}")?;
        }
        let Some(about) = &self.about else {
            return Ok(());
        };
        let lineage = about.lineage;
        writeln!(f, "made by    {}", lineage.made_by)?;
        if let Some(parent) = lineage.parent {
            writeln!(f, "made from  {parent}")?;
        }
        writeln!(f, "rows       {}", rows(lineage))?;
        writeln!(f, "neighbors  {}", about.neighbors)?;
        writeln!(f, "features   {}", about.features.join(", "))?;
        writeln!(
            f,
            "label      {}: {}",
            about.label,
            about.classes.join(", ")
        )?;
        for (topic, offsets) in &lineage.sources {
            let offsets: Vec<String> = offsets
                .iter()
                .map(|(partition, offset)| format!("{partition}: {offset}"))
                .collect();
            writeln!(f, "learned    {topic} up to {}", offsets.join(", "))?;
        }
        for (name, &value) in &lineage.metrics {
            writeln!(f, "metric     {name} {}", figure(value))?;
        }
        Ok(())
    }
}

/// A time as people and programs read it.
pub(crate) fn time(milliseconds: Option<i64>) -> Option<String> {
    let time = Timestamp::from_millisecond(milliseconds?).ok()?;
    Some(time.to_string())
}

/// A figure to four places, without what is zero at its end.
fn figure(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The models in the order in which they were made.
fn in_order(registry: &Registry) -> Vec<(ModelVersion, &Registered)> {
    let mut models: Vec<_> = registry
        .models()
        .iter()
        .map(|(&version, model)| (version, model))
        .collect();
    models.sort_by_key(|(_, model)| model.offset);
    models
}

/// The training rows by where they came from: "124: dataset 120, feedback 4".
fn rows(lineage: &iris_core::Lineage) -> String {
    let mut by_source: BTreeMap<&str, u64> = BTreeMap::new();
    for (source, rows) in &lineage.rows {
        *by_source.entry(source).or_default() += rows;
    }
    let total: u64 = by_source.values().sum();
    let parts: Vec<String> = by_source
        .iter()
        .map(|(source, rows)| format!("{source} {rows}"))
        .collect();
    format!("{total}: {}", parts.join(", "))
}

fn models(registry: &Registry) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "",
        "version",
        "made",
        "made by",
        "made from",
        "rows",
        "holdout accuracy",
    ]);
    for (version, model) in in_order(registry) {
        let mark = if registry.champion() == Some(version) {
            "champion"
        } else {
            ""
        };
        let made = time(model.timestamp).unwrap_or_default();
        let mut row = vec![mark.to_owned(), version.to_string(), made];
        match &model.description {
            Ok(Description { lineage, .. }) => row.extend([
                lineage.made_by.clone(),
                lineage
                    .parent
                    .map_or_else(String::new, |parent| parent.to_string()),
                rows(lineage),
                lineage
                    .metrics
                    .get("holdout_accuracy")
                    .map_or_else(String::new, |&accuracy| figure(accuracy)),
            ]),
            Err(problem) => row.push(format!("refused: {problem}")),
        }
        table.add_row(row);
    }
    table
}

/// Why a decision was made, with the figures that it rests on.
fn with_figures(decision: &Decision) -> String {
    let figures = decision.figures.iter();
    let figures: String = figures
        .map(|(name, &value)| format!("; {name} {}", figure(value)))
        .collect();
    format!("{}{figures}", decision.reason)
}

fn decisions<'a>(
    recorded: impl Iterator<Item = &'a Recorded>,
    why: impl Fn(&Decision) -> String,
) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["decision", "time", "what", "version", "by", "why"]);
    for Recorded {
        decision,
        timestamp,
    } in recorded
    {
        table.add_row([
            decision.number.to_string(),
            time(*timestamp).unwrap_or_default(),
            decision.action.to_string(),
            decision.version.to_string(),
            decision.by.clone(),
            why(decision),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use iris_contract::registry::Action;
    use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};

    use super::*;

    /// A registry of models with these versions, none of which can be used.
    fn registry(versions: &[&str]) -> Registry {
        let mut registry = Registry::default();
        for (offset, version) in (0..).zip(versions) {
            let broken = Some(&b"{\"format\":9}"[..]);
            registry
                .apply(offset, Some(0), version.as_bytes(), broken)
                .unwrap();
        }
        registry
    }

    /// A model of two rows with one feature, the second at `x`.
    fn artefact(x: f64, lineage: Lineage) -> Artefact {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        let rows = [(&[0.0][..], "a"), (&[x][..], "b")];
        let set = TrainingSet::new(schema, rows.into_iter());
        Artefact {
            model: Model::fit(set, 1).unwrap(),
            lineage,
        }
    }

    /// A registry in which each of these models has replaced the one before, a second apart.
    fn succession(models: &[&Artefact]) -> Registry {
        let mut registry = Registry::default();
        for (model, time) in models.iter().zip(1..) {
            for (entry, n) in registry
                .enter(model, true, Grounds::default())
                .iter()
                .zip(0..)
            {
                let (key, value) = (entry.key.as_bytes(), Some(&entry.value[..]));
                registry
                    .apply(10 * time + n, Some(1_000 * time), key, value)
                    .unwrap();
            }
        }
        registry
    }

    #[test]
    fn models_are_listed_in_the_order_in_which_they_were_made_and_the_champion_is_marked() {
        let lineage = Lineage {
            made_by: "iris-trainer".to_owned(),
            rows: vec![
                ("dataset".to_owned(), 120),
                ("feedback".to_owned(), 3),
                ("dataset".to_owned(), 1),
            ],
            metrics: [("holdout_accuracy".to_owned(), 1.0)].into(),
            ..Lineage::default()
        };
        let (first, second) = (artefact(1.0, lineage.clone()), artefact(2.0, lineage));
        for order in [[&first, &second], [&second, &first]] {
            let registry = succession(&order);
            let versions = order.map(|artefact| artefact.model.version().to_string());
            let listed = models(&registry).to_string();
            let rows: Vec<&str> = listed.lines().skip(1).map(str::trim).collect();
            let time = "1970-01-01T00:00:01Z";
            assert!(
                rows[0].starts_with(&format!("{}  {time}", versions[0])),
                "{listed}"
            );
            assert!(
                rows[1].starts_with(&format!("champion  {}", versions[1])),
                "{listed}"
            );
            assert!(rows[1].contains("124: dataset 121, feedback 3"), "{listed}");
            assert!(rows[1].ends_with("  1"), "the accuracy: {listed}");
            let json = serde_json::to_value(Listing::of(&registry)).unwrap();
            assert_eq!(json["champion"], versions[1]);
            assert_eq!(json["models"][0]["version"], versions[0]);
            assert_eq!(json["models"][1]["is_champion"], true);
            assert_eq!(json["decisions"][1]["replaces"], versions[0]);
        }
    }

    #[test]
    fn a_model_is_shown_with_where_it_came_from_and_how_good_it_was_found() {
        let parent: ModelVersion = "0123456789abcdef".parse().unwrap();
        let lineage = Lineage {
            parent: Some(parent),
            made_by: "iris-trainer".to_owned(),
            rows: vec![("dataset".to_owned(), 2)],
            sources: [("feedback".to_owned(), [(0, 7), (3, 1)].into())].into(),
            metrics: [("holdout_accuracy".to_owned(), 29.0 / 30.0)].into(),
        };
        let artefact = artefact(1.0, lineage);
        let version = artefact.model.version();
        let registry = succession(&[&artefact]);
        let expected = format!(
            "model      {version}, the champion\n\
             made       1970-01-01T00:00:01Z\n\
             made by    iris-trainer\n\
             made from  0123456789abcdef\n\
             rows       2: dataset 2\n\
             neighbors  1\n\
             features   x\n\
             label      Species: a, b\n\
             learned    feedback up to 0: 7, 3: 1\n\
             metric     holdout_accuracy 0.9667\n"
        );
        assert_eq!(Shown::of(&registry, version).unwrap().to_string(), expected);
        assert!(
            Shown::of(&registry, parent).is_err(),
            "only its name is known"
        );
    }

    #[test]
    fn a_decision_is_announced_with_the_champion_that_it_replaces() {
        let (first, second) = (
            artefact(1.0, Lineage::default()),
            artefact(2.0, Lineage::default()),
        );
        let (old, new) = (first.model.version(), second.model.version());
        let registry = succession(&[&first, &second]);
        let lines: Vec<String> = registry
            .decisions()
            .map(|recorded| announcement(&recorded.decision))
            .collect();
        let first = format!("decision 1: {old} is the champion");
        let second = format!("decision 2: {new} is the champion, replacing {old}");
        assert_eq!(lines, [first, second]);
    }

    #[test]
    fn figures_have_four_places_at_most() {
        let figures = [1.0, 0.0, 0.5, 29.0 / 30.0, 100.0, 0.99999, -0.25].map(figure);
        assert_eq!(figures, ["1", "0", "0.5", "0.9667", "100", "1", "-0.25"]);
    }

    #[test]
    fn a_version_is_known_by_its_beginning_if_no_other_begins_so() {
        let registry = registry(&["0123456789abcdef", "0123ffffffffffff"]);
        let version = resolve(&registry, "01234").unwrap();
        assert_eq!(version.to_string(), "0123456789abcdef");
        let refusal = |digits| resolve(&registry, digits).unwrap_err().to_string();
        assert_eq!(
            refusal("0123"),
            "2 models have versions that begin with 0123: give more digits"
        );
        assert_eq!(
            refusal("beef"),
            "there is no model beef; `iris-admin models list` shows those there are"
        );
        assert_eq!(
            refusal("012"),
            "`012` is too short for the beginning of a version: give at least 4 digits"
        );
    }

    #[test]
    fn a_model_that_is_refused_is_listed_with_the_reason() {
        let registry = registry(&["0123456789abcdef"]);
        let listed = models(&registry).to_string();
        assert!(
            listed
                .contains("refused: its format is 9, and the newest that this program reads is 1"),
            "{listed}"
        );
        let json = serde_json::to_value(Listing::of(&registry)).unwrap();
        assert_eq!(json["models"][0]["version"], "0123456789abcdef");
        assert_eq!(json["champion"], serde_json::Value::Null);
    }

    #[test]
    fn a_decision_is_told_with_its_figures() {
        let recorded = Recorded {
            decision: Decision {
                number: 3,
                action: Action::Promoted,
                version: "0123456789abcdef".parse().unwrap(),
                replaces: None,
                by: "iris-trainer".into(),
                reason: "not worse".into(),
                figures: [("holdout_accuracy".to_owned(), 29.0 / 30.0)].into(),
            },
            timestamp: Some(0),
        };
        let told = decisions([&recorded].into_iter(), with_figures).to_string();
        for part in [
            "1970-01-01T00:00:00Z",
            "promoted",
            "iris-trainer",
            "not worse; holdout_accuracy 0.9667",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
