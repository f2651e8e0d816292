//! Owns the JSON schema of scenario files, for completion in editors and for whoever writes them with a program.
//! Does not own what it says: that comes from the text model.

/// The schema (JSON Schema 2020-12). Consistency across keys (names, units of a rail) is beyond it; the reader checks that.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(super::text::Scenario).to_value()
}
