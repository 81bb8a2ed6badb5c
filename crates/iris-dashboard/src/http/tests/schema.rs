//! Compares JSON with the schemas of an OpenAPI document.

use serde_json::Value;

/// Fails unless a value conforms to a schema of an OpenAPI document.
pub(super) fn assert_conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        return assert_conforms(document, schema, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let is_null = |choice: &&Value| choice["type"] == "null";
        let choice = match value {
            Value::Null => choices.iter().find(is_null),
            _ => choices.iter().find(|choice| !is_null(choice)),
        };
        return assert_conforms(document, choice.unwrap(), value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => vec![
            one.as_str()
                .unwrap_or_else(|| panic!("{at}: no type in {schema}")),
        ],
    };
    let is_type = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: unknown type {other}"),
    };
    assert!(types.iter().any(is_type), "{at} is {value}, not {types:?}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(
            names.contains(value),
            "{at} is {value}, not one of {names:?}"
        );
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        assert_conforms(document, &schema["items"], item, &format!("{at}[{index}]"));
    }
    let Some(members) = value.as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(
            members.contains_key(name.as_str().unwrap()),
            "{at}: no {name}"
        );
    }
    for (name, member) in members {
        let declared = schema["properties"].get(name);
        let schema = declared.unwrap_or(&schema["additionalProperties"]);
        assert!(schema.is_object(), "{at}.{name} is not described");
        assert_conforms(document, schema, member, &format!("{at}.{name}"));
    }
}
