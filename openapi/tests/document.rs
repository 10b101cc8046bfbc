//! The committed document equals what the code serves, and holds together. To write it anew after a change:
//! `UPDATE=1 cargo test -p mailrail-openapi`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn served() -> String {
    mailrail_rest::openapi().to_pretty_json().unwrap() + "\n"
}

fn document() -> Value {
    serde_json::from_str(&served()).unwrap()
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &'_ Value)| {
        METHODS
            .iter()
            .filter_map(move |method| Some((format!("{method} {path}"), item.get(method)?.clone())))
            .collect::<Vec<_>>()
    };
    let named: Vec<_> = paths.iter().flat_map(of_path).map(|(name, _)| name).collect();
    named
        .into_iter()
        .map(|name| {
            let (method, path) = name.split_once(' ').unwrap();
            let operation = &document["paths"][path][method];
            (name.clone(), operation)
        })
        .collect()
}

#[test]
fn the_committed_document_is_what_the_code_serves() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, served()).unwrap();
        return;
    }
    let differs = mailrail_openapi::DOCUMENT != served();
    assert!(!differs, "openapi/openapi.json is stale; run `UPDATE=1 cargo test -p mailrail-openapi`");
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(document: &Value, value: &Value, found: &mut usize) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                    *found += 1;
                }
                fields.values().for_each(|field| check(document, field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| check(document, item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = 0;
    check(&document, &document, &mut found);
    assert!(found > 50, "only {found} references were looked at");
}

#[test]
fn generators_get_unique_names_and_a_schema_for_every_answer() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for (operation, facts) in operations(&document) {
        let name = facts["operationId"].as_str().unwrap_or_else(|| panic!("{operation} has no operationId"));
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name} is no identifier");
        assert!(facts["tags"][0].is_string(), "{operation} has no tag");
        assert!(facts["summary"].is_string(), "{operation} has no summary");
        for (status, response) in facts["responses"].as_object().unwrap() {
            let at = format!("{operation} {status}");
            assert!(response["description"].is_string(), "{at} has no description");
            let Some(content) = response.get("content").and_then(Value::as_object) else {
                assert_eq!(status, "204", "{at} has no content");
                continue;
            };
            for (media_type, content) in content {
                assert!(content["schema"].is_object(), "{at} has no schema");
                let expected = if status.starts_with('2') {
                    media_type != "application/problem+json"
                } else {
                    media_type == "application/problem+json"
                };
                assert!(expected, "{at} has the media type {media_type}");
            }
        }
        for parameter in facts["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["schema"].is_object(), "{operation}: {parameter}");
            assert!(parameter["description"].is_string(), "{operation}: {parameter}");
        }
    }
    assert_eq!(names.len(), operations(&document).len());
    assert!(names.len() >= 17, "{names:?}");
}

#[test]
fn every_parameter_of_a_path_is_described() {
    for (operation, facts) in operations(&document()) {
        let (_, path) = operation.split_once(' ').unwrap();
        let in_path: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = facts["parameters"].as_array().cloned().unwrap_or_default();
        let described: BTreeSet<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(in_path, described, "{operation}");
    }
}
