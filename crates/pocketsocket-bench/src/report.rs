//! What a load prints at its end.

use std::fmt::Write as _;

use crate::Failure;

#[derive(Debug, PartialEq)]
enum Value {
    Count(u64),
    Number(f64),
    Text(String),
}

/// Named figures in the order in which they were written down, and the errors that were met.
#[derive(Debug)]
pub(crate) struct Report {
    fields: Vec<(String, Value)>,
    errors: u64,
    first_error: Option<Failure>,
}

impl Report {
    pub(crate) fn new(load: &str) -> Self {
        let fields = vec![("load".to_owned(), Value::Text(load.to_owned()))];
        Self { fields, errors: 0, first_error: None }
    }

    pub(crate) fn count(&mut self, name: &str, value: u64) {
        self.fields.push((name.to_owned(), Value::Count(value)));
    }

    pub(crate) fn number(&mut self, name: &str, value: f64) {
        self.fields.push((name.to_owned(), Value::Number(value)));
    }

    /// One more error; the first is kept to be told.
    pub(crate) fn error(&mut self, error: impl Into<Failure>) {
        self.add_errors(1, error);
    }

    pub(crate) fn add_errors(&mut self, count: u64, error: impl Into<Failure>) {
        self.errors += count;
        if count > 0 && self.first_error.is_none() {
            self.first_error = Some(error.into());
        }
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        let mut line = String::from("{");
        for (name, value) in &self.fields {
            let _ = match value {
                Value::Count(count) => write!(line, "\"{name}\":{count},"),
                Value::Number(number) => write!(line, "\"{name}\":{number:.3},"),
                Value::Text(text) => write!(line, "\"{name}\":\"{}\",", escaped(text)),
            };
        }
        let _ = write!(line, "\"errors\":{}", self.errors);
        if let Some(error) = &self.first_error {
            let _ = write!(line, ",\"error\":\"{}\"", escaped(&error.to_string()));
        }
        line + "}"
    }

    /// Lines to read.
    pub(crate) fn text(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.fields {
            let _ = match value {
                Value::Count(count) => writeln!(lines, "{name:<28} {count:>14}"),
                Value::Number(number) => writeln!(lines, "{name:<28} {number:>14.2}"),
                Value::Text(text) => writeln!(lines, "{name:<28} {text:>14}"),
            };
        }
        let _ = write!(lines, "{:<28} {:>14}", "errors", self.errors);
        if let Some(error) = &self.first_error {
            let _ = write!(lines, "    the first: {error}");
        }
        lines
    }
}

/// A JSON string's content (RFC 8259 section 7).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\\' => escaped.extend(['\\', char]),
            '\0'..='\x1f' => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(char));
            }
            _ => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_and_tells_the_first_error() {
        let mut report = Report::new("echo");
        report.count("messages", 3);
        report.number("latency_p50_us", 1.5);
        report.error("a \"b\"\n\\c");
        report.error("another");
        assert_eq!(
            report.json(),
            r#"{"load":"echo","messages":3,"latency_p50_us":1.500,"errors":2,"error":"a \"b\"\u000a\\c"}"#
        );
        assert_eq!(report.errors(), 2);
    }
}
