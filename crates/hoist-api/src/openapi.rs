//! Writes the OpenAPI document from the declarations.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::endpoint::{
    ARCHIVE_TYPE, CHECK_PATH, Endpoint, Kind, Method, PREFIX, STREAM_TYPE, Scope,
};
use crate::endpoints::operations;
use crate::error::{ErrorBody, ErrorCode};

/// An operation as a value: what the document and the coverage tests go through.
#[derive(Debug)]
pub struct Operation {
    /// Its name in the document.
    pub id: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// Relative to [`PREFIX`].
    pub path: &'static str,
    /// One line of what it does.
    pub summary: &'static str,
    /// What a token must allow.
    pub scope: Scope,
    /// How request and reply travel.
    pub kind: Kind,
    /// The status of success.
    pub success: u16,
    /// What it may answer instead, common ones included.
    pub errors: Vec<ErrorCode>,
    /// Parameters in the path.
    pub path_params: Vec<Param>,
    /// Parameters after the `?`.
    pub query_params: Vec<Param>,
    /// The request's JSON; none when it has none.
    pub body: Option<Schema>,
    /// The reply's JSON.
    pub reply: Schema,
}

/// A parameter of a path or query.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// What it may be.
    pub schema: Value,
}

impl Operation {
    /// The declaration as a value; its types become schemas of `schemas`.
    pub fn of<E: Endpoint>(schemas: &mut SchemaGenerator) -> Self {
        let takes_json = matches!(E::KIND, Kind::Json | Kind::Download);
        let has_body = takes_json && E::METHOD.has_body();
        Self {
            id: E::ID,
            method: E::METHOD,
            path: E::PATH,
            summary: E::SUMMARY,
            scope: E::SCOPE,
            kind: E::KIND,
            success: E::SUCCESS,
            errors: ErrorCode::COMMON.iter().chain(E::ERRORS).copied().collect(),
            path_params: params::<E::Path>(schemas),
            query_params: params::<E::Query>(schemas),
            body: has_body.then(|| schemas.subschema_for::<E::Body>()),
            reply: schemas.subschema_for::<E::Reply>(),
        }
    }
}

/// The fields of a flat struct.
fn params<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Vec<Param> {
    let schema = T::json_schema(schemas);
    let fields = schema.get("properties").and_then(Value::as_object);
    let param = |(name, schema): (&String, &Value)| Param {
        name: name.clone(),
        schema: schema.clone(),
    };
    let mut params: Vec<_> = fields.into_iter().flatten().map(param).collect();
    params.sort_by(|one, other| one.name.cmp(&other.name));
    params
}

/// The document of all operations, OpenAPI 3.1.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = SchemaGenerator::new(settings);
    let error = schemas.subschema_for::<ErrorBody>();
    let mut paths = Map::new();
    paths.insert(CHECK_PATH.to_owned(), check());
    for operation in operations(&mut schemas) {
        let path = paths
            .entry(format!("{PREFIX}{}", operation.path))
            .or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = describe(&operation, &error);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hoist",
            "version": "1",
            "description": "The API of a rack. Lists are pages of `items` with `next`; streams are server-sent events: \
                            `line` events, then one `end` or `error` event.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The document's text as it is checked in.
pub fn document_text() -> String {
    let mut document = document();
    document.sort_all_objects();
    format!("{document:#}\n")
}

fn check() -> Value {
    json!({ "get": {
        "operationId": "check",
        "summary": "Answers as soon as the rack serves; needs no token.",
        "security": [],
        "responses": { "200": { "description": "It serves." } },
    }})
}

fn describe(operation: &Operation, error: &Schema) -> Value {
    let in_path = operation
        .path_params
        .iter()
        .map(|param| parameter(param, "path"));
    let in_query = operation
        .query_params
        .iter()
        .map(|param| parameter(param, "query"));
    let reply_type = if operation.kind == Kind::EventStream {
        STREAM_TYPE
    } else {
        "application/json"
    };
    let mut responses = Map::new();
    let success = match operation.kind {
        Kind::Session => json!({
            "description": "The connection is a WebSocket now; this is its last message.",
            "x-last-message": { "schema": operation.reply },
        }),
        Kind::Download => json!({ "description": "Success.", "content": archive() }),
        _ => {
            json!({ "description": "Success.", "content": { reply_type: { "schema": operation.reply } } })
        }
    };
    responses.insert(operation.success.to_string(), success);
    let statuses: BTreeSet<_> = operation.errors.iter().map(|code| code.status()).collect();
    for status in statuses {
        let codes: Vec<_> = operation
            .errors
            .iter()
            .filter(|code| code.status() == status)
            .collect();
        let words: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
        let content = json!({ "application/json": { "schema": error } });
        responses.insert(
            status.to_string(),
            json!({ "description": words.join(", "), "content": content }),
        );
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "x-scope": operation.scope.as_str(),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": responses,
    });
    if operation.kind == Kind::Upload {
        described["requestBody"] = json!({ "required": true, "content": archive() });
    } else if let Some(body) = &operation.body {
        described["requestBody"] = json!({ "content": { "application/json": { "schema": body } } });
    }
    described
}

fn archive() -> Value {
    json!({ ARCHIVE_TYPE: { "schema": { "type": "string", "format": "binary" } } })
}

fn parameter(param: &Param, place: &str) -> Value {
    let mut schema = param.schema.clone();
    let description = schema
        .as_object_mut()
        .and_then(|schema| schema.remove("description"));
    json!({
        "name": param.name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All `$ref` in a document.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.insert(reference.clone());
                }
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn references_point_at_something() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            let pointer = reference
                .strip_prefix('#')
                .expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_checked_in_document_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let text = document_text();
        if std::env::var_os("HOIST_BLESS").is_some() {
            std::fs::write(path, &text).expect("docs/openapi.json can be written");
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == text,
            "docs/openapi.json is stale: run `HOIST_BLESS=1 cargo test -p hoist-api openapi`"
        );
    }
}
