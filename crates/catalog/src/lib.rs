//! Catalogs: YAML, JSON Schemas and lambdas in; specs out, or every mistake at once with file, line and hint.
