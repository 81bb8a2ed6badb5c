//! The source that sets a key.

use toml::de::{DeTable, DeValue};

use crate::settings::environment::{ENVIRONMENT_SEPARATOR, variable_of};
use crate::settings::sources::Sources;

impl Sources {
    /// Returns the source of a key's value: of those that set it, the one that takes precedence.
    pub(super) fn origin(&self, key: &str) -> Option<String> {
        if let Some(flag) = self.flags.iter().find(|flag| flag.key == key) {
            return Some(flag.name.to_owned());
        }
        let variable = variable_of(key);
        let sets_it = |name: &str| {
            let name = name.to_uppercase();
            let is_within = |inner: &str, outer: &str| {
                let rest = inner.strip_prefix(outer);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(ENVIRONMENT_SEPARATOR))
            };
            is_within(&variable, &name) || is_within(&name, &variable)
        };
        if let Some(name) = self.environment.keys().find(|name| sets_it(name)) {
            return Some(format!("the environment variable {name}"));
        }
        let file = self.file.as_ref()?;
        let line = line_of(&file.text, key)?;
        Some(format!("{} line {line}", file.path.display()))
    }
}

/// Returns the line, from 1, on which a TOML text sets a key.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut start = None;
    for part in key.split('.') {
        let part = part.trim_matches('"').split('[').next()?;
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else {
            break;
        };
        start = Some(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    start.map(|start| 1 + text[..start].matches('\n').count())
}
