//! HTML that is put together from parts: tags and classes are the program's own, and text is escaped on its way in. There is
//! no other way in, so no name or value of the data can become markup.

use crate::figures::visible;

/// The longest text that is shown whole.
const MOST_CHARACTERS: usize = 120;

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
            html.element("td", "name", |html| html.text(name));
            numbers.iter().for_each(|(label, number)| html.number("", label, number));
        });
    }

    /// An element of a class (none if empty), around what `fill` puts into it.
    pub fn element(&mut self, tag: &'static str, class: &'static str, fill: impl FnOnce(&mut Self)) {
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
        self.0.push_str("<td class=\"number");
        if !class.is_empty() {
            self.0.push(' ');
            self.0.push_str(class);
        }
        self.0.push_str("\" data-label=\"");
        self.push_escaped(label);
        self.0.push_str("\">");
        self.text(text);
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
        self.element("div", "scroll", |html| {
            html.element("table", "", |html| {
                html.element("thead", "", |html| {
                    html.element("tr", "", |html| heads.iter().for_each(|(class, head)| html.leaf("th", class, head)));
                });
                html.element("tbody", "", rows);
            });
        });
    }

    /// What was put together.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    fn open(&mut self, tag: &'static str, class: &'static str) {
        self.0.push('<');
        self.0.push_str(tag);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut html = Html::default();
        html.element("td", "name", |html| html.text("</td><script>alert('x\"&')</script>"));
        let expected = "<td class=\"name\">&lt;/td&gt;&lt;script&gt;alert(&#39;x&quot;&amp;&#39;)&lt;/script&gt;</td>";
        assert_eq!(html.into_string(), expected);
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
