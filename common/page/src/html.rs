//! HTML that is put together from parts: tags and classes are the program's own, and text is escaped on its way in. There is
//! no other way in, so no name or value of the data can become markup.

use crate::figures::{counted, visible};

/// The longest text that is shown whole.
const MOST_CHARACTERS: usize = 120;

/// Values of a column that a table shows.
pub const MOST_VALUES: usize = 50;
/// How much of such a value is shown.
pub const MOST_OF_A_VALUE: usize = 60;

const STYLE: &str = include_str!("style.css");
/// Nothing is fetched and nothing is run, even if a name of the data got through as markup.
const POLICY: &str =
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";

/// A drawn chart: markup of the program's own, of nothing but numbers and its own words.
#[derive(Debug)]
pub struct Svg(String);

impl Svg {
    /// A chart of this markup, in which there must be nothing of the data but numbers.
    #[must_use]
    pub fn new(markup: String) -> Self {
        Self(markup)
    }

    /// Its markup.
    #[must_use]
    pub fn markup(&self) -> &str {
        &self.0
    }
}

/// HTML under construction.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// A whole page of this title.
    #[must_use]
    pub fn document(title: &str, fill: impl FnOnce(&mut Self)) -> String {
        let mut html = Self::default();
        html.fixed("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
        html.fixed("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        html.fixed("<meta name=\"color-scheme\" content=\"light dark\">");
        html.fixed(POLICY);
        html.leaf("title", "", title);
        html.element("style", "", |html| html.fixed(STYLE));
        html.fixed("</head>\n<body><main>");
        fill(&mut html);
        html.fixed("</main></body></html>\n");
        html.into_string()
    }

    /// A section with its heading.
    pub fn titled(&mut self, title: &'static str, fill: impl FnOnce(&mut Self)) {
        self.element("section", "", |html| {
            html.leaf("h2", "", title);
            fill(html);
        });
        self.fixed("\n");
    }

    /// A paragraph in small print.
    pub fn note(&mut self, text: &str) {
        self.element("p", "note", |html| html.prose(text));
    }

    /// What a table leaves out, and the file that has it; nothing where it leaves out nothing.
    pub fn rest(&mut self, left_out: usize, word: &str, place: &str) {
        if left_out > 0 {
            self.note(&format!("… and {} more, in {place}.", counted(left_out, word)));
        }
    }

    /// A number that stands out: its name, the number, and what to know of it.
    pub fn tile(&mut self, name: &str, value: &str, note: &str) {
        self.element("div", "tile", |html| {
            html.leaf("span", "name", name);
            html.leaf("b", "", value);
            html.leaf("span", "note", note);
        });
    }

    /// A row of a table: a name, and numbers with the heads that a phone shows before them.
    pub fn named_row(&mut self, name: &str, numbers: &[(&'static str, String)]) {
        self.element("tr", "", |html| {
            html.row_head(|html| html.text(name));
            numbers.iter().for_each(|(label, number)| html.number("", label, number));
        });
    }

    /// The cell that names its row.
    pub fn row_head(&mut self, fill: impl FnOnce(&mut Self)) {
        self.element("td", "name", fill);
    }

    /// A link to a file beside or below this page. What is no such path is shown as text: a name of the data never leads elsewhere.
    pub fn link(&mut self, path: &str, text: &str) {
        if !is_relative_path(path) {
            self.text(text);
            return;
        }
        self.0.push_str("<a href=\"");
        self.0.push_str(path);
        self.0.push_str("\">");
        self.text(text);
        self.0.push_str("</a>");
    }

    /// What can be opened below a heading of its own.
    pub fn details(&mut self, summary: &str, fill: impl FnOnce(&mut Self)) {
        self.element("details", "", |html| {
            html.leaf("summary", "", summary);
            fill(html);
        });
    }

    /// An element of a class (none if empty), around what `fill` puts into it. The first cell of a row, of the class `name`, is its head.
    pub fn element(&mut self, tag: &'static str, class: &'static str, fill: impl FnOnce(&mut Self)) {
        let tag = if (tag, class) == ("td", "name") { "th" } else { tag };
        self.open(tag, class);
        fill(self);
        self.close(tag);
    }

    /// An element that holds nothing but text.
    pub fn leaf(&mut self, tag: &'static str, class: &'static str, text: &str) {
        self.element(tag, class, |html| html.text(text));
    }

    /// A cell with a number; a phone, which has no room for heads, shows `label` before it.
    pub fn number(&mut self, class: &'static str, label: &'static str, text: &str) {
        self.number_cell(class, label, |html| html.text(text));
    }

    /// The same with what `fill` puts into it.
    pub fn number_cell(&mut self, class: &'static str, label: &'static str, fill: impl FnOnce(&mut Self)) {
        self.0.push_str("<td role=\"cell\" class=\"number");
        if !class.is_empty() {
            self.0.push(' ');
            self.0.push_str(class);
        }
        self.0.push_str("\" data-label=\"");
        self.push_escaped(label);
        self.0.push_str("\">");
        fill(self);
        self.close("td");
    }

    /// Text of the program or the data, cut where it is very long.
    pub fn text(&mut self, text: &str) {
        self.push_escaped(&visible(text, MOST_CHARACTERS));
    }

    /// Text that the program wrote around names of the data: it may be longer.
    pub fn prose(&mut self, text: &str) {
        self.push_escaped(&visible(text, 40 * MOST_CHARACTERS));
    }

    /// Markup of the program's own.
    pub fn fixed(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// A chart and what it shows, in words too.
    pub fn figure(&mut self, class: &'static str, chart: &Svg, title: &str, caption: &str) {
        self.element("figure", class, |html| {
            html.leaf("figcaption", "", title);
            html.svg(chart, title);
            html.element("p", "note", |html| html.prose(caption));
        });
    }

    /// A chart alone; `label` is read out in its place.
    pub fn svg(&mut self, chart: &Svg, label: &str) {
        self.0.push_str("<div class=\"chart\" role=\"img\" aria-label=\"");
        self.push_escaped(label);
        self.0.push_str("\">");
        self.0.push_str(chart.markup());
        self.0.push_str("</div>");
    }

    /// A bar over a share of the cell's width.
    pub fn bar(&mut self, share: f64) {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.0.push_str(&format!("<i class=\"bar\"><i style=\"width:{:.1}%\"></i></i>", 100.0 * share));
    }

    /// A table that scrolls sideways where it is wider than the page; on a phone its cells stand below each other. `heads` are its columns: a class and a text each.
    pub fn table(&mut self, heads: &[(&'static str, &str)], rows: impl FnOnce(&mut Self)) {
        self.0.push_str("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"table\">");
        {
            self.element("table", "", |html| {
                html.element("thead", "", |html| {
                    html.element("tr", "", |html| {
                        for (class, head) in heads {
                            // A head without a text would be read out as a column without a name.
                            html.leaf(if head.is_empty() { "td" } else { "th" }, class, head);
                        }
                    });
                });
                html.element("tbody", "", rows);
            });
        }
        self.close("div");
    }

    /// What was put together.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    fn open(&mut self, tag: &'static str, class: &'static str) {
        self.0.push('<');
        self.0.push_str(tag);
        self.0.push_str(attributes(tag, class));
        if !class.is_empty() {
            self.0.push_str(" class=\"");
            self.0.push_str(class);
            self.0.push('"');
        }
        self.0.push('>');
    }

    fn close(&mut self, tag: &'static str) {
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    fn push_escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
    }
}

/// What says to people who hear a table what is a row and what is a head. A phone shows rows as blocks, and some browsers then forget that
/// they were rows.
fn attributes(tag: &str, class: &str) -> &'static str {
    match (tag, class) {
        ("table", _) => " role=\"table\"",
        ("thead" | "tbody", _) => " role=\"rowgroup\"",
        ("tr", _) => " role=\"row\"",
        ("td", _) => " role=\"cell\"",
        ("th", "name") => " scope=\"row\" role=\"rowheader\"",
        ("th", _) => " scope=\"col\" role=\"columnheader\"",
        _ => "",
    }
}

/// Whether a path leads to a file beside or below the page, in characters that need no escape in an attribute or a URL.
fn is_relative_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b'=');
    !path.is_empty()
        && !path.starts_with('/')
        && path.bytes().all(is_plain)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut html = Html::default();
        html.element("td", "name", |html| html.text("</td><script>alert('x\"&')</script>"));
        let text = "&lt;/td&gt;&lt;script&gt;alert(&#39;x&quot;&amp;&#39;)&lt;/script&gt;";
        assert_eq!(html.into_string(), format!("<th scope=\"row\" role=\"rowheader\" class=\"name\">{text}</th>"));
    }

    #[test]
    fn a_link_leads_to_a_file_of_the_store_or_nowhere() {
        let linked = |path: &str| {
            let mut html = Html::default();
            html.link(path, "x<");
            html.into_string()
        };
        assert_eq!(linked("runs/r-1/report.html"), "<a href=\"runs/r-1/report.html\">x&lt;</a>");
        for path in
            ["javascript:alert(1)", "//elsewhere.org/x", "/etc/passwd", "../x", "a//b", "a\" onclick=\"b", "a b", ""]
        {
            assert_eq!(linked(path), "x&lt;", "{path}");
        }
    }

    #[test]
    fn a_bar_stays_inside_its_cell() {
        for (share, width) in [(0.5, "50.0"), (f64::NAN, "0.0"), (7.0, "100.0"), (-1.0, "0.0")] {
            let mut html = Html::default();
            html.bar(share);
            assert!(html.into_string().contains(&format!("width:{width}%")), "{share}");
        }
    }
}
