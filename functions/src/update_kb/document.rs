//! A document for the knowledge base: Markdown, and the attributes that a question can be filtered by.

use serde_json::json;

use super::sources::Sources;

/// A document.
#[derive(Debug, Clone)]
pub(super) struct Document {
    name: &'static str,
    body: String,
    attributes: String,
}

impl Document {
    /// A document with its heading and the run that it tells of.
    pub(super) fn new(name: &'static str, title: &str, sources: &Sources) -> Self {
        let run = &sources.run;
        let day = run.checked_at.get(..10).unwrap_or_default();
        let attributes = json!({
            "metadataAttributes": {
                "document": name,
                "run_id": run.run_id,
                "model_version": run.model_version,
                "environment": sources.environment,
                "date": day,
            }
        });
        let attributes = format!("{attributes:#}\n");
        let body = format!(
            "# {title}\n\nRun {} of {day} ({}), model {}.\n",
            run.run_id, sources.environment, run.model_version
        );
        Self { name, body, attributes }
    }

    /// Adds a paragraph.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.body.push_str(&format!("\n{text}\n"));
    }

    /// Adds a heading.
    pub(super) fn heading(&mut self, text: &str) {
        self.body.push_str(&format!("\n## {text}\n"));
    }

    /// Adds a table; one without rows is left out.
    pub(super) fn table(&mut self, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rows: String =
            rows.into_iter().map(|cells| line(cells.iter().map(|cell| cell_text(cell)).collect())).collect();
        if rows.is_empty() {
            return;
        }
        let header = line(columns.iter().map(|&column| column.to_owned()).collect());
        let rule = line(vec!["---".to_owned(); columns.len()]);
        self.body.push_str(&format!("\n{header}{rule}{rows}"));
    }

    /// The objects: the document and its attributes.
    pub(super) fn objects(&self) -> [(String, String); 2] {
        let name = self.name;
        [(format!("{name}.md"), self.body.clone()), (format!("{name}.md.metadata.json"), self.attributes.clone())]
    }
}

/// Text in a cell of a table: on one line, and without what ends a cell.
fn cell_text(text: &str) -> String {
    error::text::without_control_characters(text).replace('|', "\\|")
}

/// A number for people: three significant digits, or all of a count's.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "unknown".to_owned() };
    }
    let digits = (2 - value.abs().log10().floor() as i32).max(0) as usize;
    let scale = 10_f64.powi(2 - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    format!("{rounded:.digits$}")
}

/// The same, or that it is not known.
pub(super) fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), number)
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1234.5, "1230"),
            (0.012345, "0.0123"),
            (-5.678, "-5.68"),
            (99.96, "100.0"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(percent(0.1234), "12.3 %");
    }
}
