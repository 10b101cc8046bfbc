//! The committed OpenAPI document of the REST surface, for whoever wants it without starting a broker. What it says is
//! decided in the REST crate; a test here holds the two together.

/// The document, as it is committed.
pub const DOCUMENT: &str = include_str!("../openapi.json");
