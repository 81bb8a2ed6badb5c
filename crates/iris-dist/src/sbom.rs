//! Merges the binaries' software bills of materials into one for the archive, as CycloneDX 1.5.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// The archive's reference.
const ROOT: &str = "iris-on-kafka";

/// Merges the documents of the binaries. Each component and dependency appears once; the archive depends on the binaries.
/// `libraries` are linked software that is not a crate, each as `NAME@VERSION`.
///
/// # Errors
/// If a document lacks what `cargo cyclonedx` writes, or a library has no version.
pub(crate) fn merge(documents: Vec<Value>, libraries: &[String]) -> anyhow::Result<Value> {
    let first = documents.first().context("no documents")?;
    let (version, timestamp, tools) = (
        first["metadata"]["component"]["version"].clone(),
        first["metadata"]["timestamp"].clone(),
        first["metadata"]["tools"].clone(),
    );
    let (mut components, mut dependencies) = (BTreeMap::new(), BTreeMap::new());
    let mut contents = Vec::new();
    for mut document in documents {
        let mut binary = document["metadata"]["component"].take();
        let reference = reference(&binary, "bom-ref")?;
        // Its targets, the library and the program, add nothing.
        if let Some(binary) = binary.as_object_mut() {
            binary.remove("components");
        }
        components.insert(reference.clone(), binary);
        contents.push(reference);
        for component in list(&mut document, "components")? {
            components.insert(self::reference(&component, "bom-ref")?, component);
        }
        for dependency in list(&mut document, "dependencies")? {
            dependencies.insert(self::reference(&dependency, "ref")?, dependency);
        }
    }
    for library in libraries {
        let Some((name, version)) = library.split_once('@') else {
            bail!("{library} is not NAME@VERSION");
        };
        let purl = format!("pkg:generic/{library}");
        let component = json!({
            "type": "library", "bom-ref": purl, "name": name, "version": version, "scope": "required", "purl": purl
        });
        components.insert(purl.clone(), component);
        contents.push(purl);
    }
    dependencies.insert(
        ROOT.to_owned(),
        json!({ "ref": ROOT, "dependsOn": contents }),
    );
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": timestamp,
            "tools": tools,
            "component": { "type": "application", "bom-ref": ROOT, "name": ROOT, "version": version },
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.into_values().collect::<Vec<_>>(),
    }))
}

fn reference(value: &Value, key: &str) -> anyhow::Result<String> {
    let reference = value[key].as_str();
    Ok(reference
        .with_context(|| format!("no {key} in {value}"))?
        .to_owned())
}

fn list(document: &mut Value, key: &str) -> anyhow::Result<Vec<Value>> {
    match document[key].take() {
        Value::Array(values) => Ok(values),
        _ => bail!("a document without {key}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn document(binary: &str, libraries: &[&str]) -> Value {
        let component = |name: &str| json!({ "bom-ref": name, "name": name, "version": "1.0.0" });
        let mut dependencies = vec![json!({ "ref": binary, "dependsOn": libraries })];
        dependencies.extend(libraries.iter().map(|library| json!({ "ref": library })));
        let mut root = component(binary);
        root["components"] = json!([{ "bom-ref": "its program" }]);
        json!({
            "metadata": { "timestamp": "2026-11-26T00:00:00Z", "tools": [{ "name": "tool" }], "component": root },
            "components": libraries.iter().map(|library| component(library)).collect::<Vec<_>>(),
            "dependencies": dependencies,
        })
    }

    #[test]
    fn a_component_of_several_binaries_is_listed_once_and_the_archive_depends_on_the_binaries() {
        let documents = vec![document("one", &["a", "b"]), document("two", &["b"])];
        let merged = merge(documents, &["openssl@3.0.17".to_owned()]).unwrap();
        let names = |key: &str, of: &str| -> Vec<String> {
            merged[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|value| value[of].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            names("components", "name"),
            ["a", "b", "one", "openssl", "two"]
        );
        assert_eq!(names("dependencies", "ref"), ["a", "b", ROOT, "one", "two"]);
        let contents = json!(["one", "two", "pkg:generic/openssl@3.0.17"]);
        assert_eq!(merged["dependencies"][2]["dependsOn"], contents);
        assert_eq!(merged["metadata"]["component"]["version"], "1.0.0");
        assert!(!merged.to_string().contains("its program"));
    }

    #[test]
    fn a_document_that_is_not_a_bill_of_materials_is_an_error() {
        let error = merge(vec![json!({})], &[]).unwrap_err();
        assert_eq!(error.to_string(), "no bom-ref in null");
    }
}
