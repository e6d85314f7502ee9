//! HTML that is put together from parts: tags and classes are the program's own, and text is escaped on its way in. There is
//! no other way in, so no name or value of the data can become markup.

use super::charts::Svg;
use super::figures::visible;

/// The longest text that is shown whole.
const MOST_CHARACTERS: usize = 120;

/// HTML under construction.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// An element of a class (none if empty), around what `fill` puts into it.
    pub(super) fn element(&mut self, tag: &'static str, class: &'static str, fill: impl FnOnce(&mut Self)) {
        self.open(tag, class);
        fill(self);
        self.close(tag);
    }

    /// An element that holds nothing but text.
    pub(super) fn leaf(&mut self, tag: &'static str, class: &'static str, text: &str) {
        self.element(tag, class, |html| html.text(text));
    }

    /// Text of the program or the data, cut where it is very long.
    pub(super) fn text(&mut self, text: &str) {
        self.push_escaped(&visible(text, MOST_CHARACTERS));
    }

    /// Text that the program wrote around names of the data: it may be longer.
    pub(super) fn prose(&mut self, text: &str) {
        self.push_escaped(&visible(text, 40 * MOST_CHARACTERS));
    }

    /// Markup of the program's own.
    pub(super) fn fixed(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// A chart and what it shows, in words too.
    pub(super) fn figure(&mut self, class: &'static str, chart: &Svg, title: &str, caption: &str) {
        self.element("figure", class, |html| {
            html.leaf("figcaption", "", title);
            html.svg(chart, title);
            html.element("p", "note", |html| html.prose(caption));
        });
    }

    /// A chart alone; `label` is read out in its place.
    pub(super) fn svg(&mut self, chart: &Svg, label: &str) {
        self.0.push_str("<div class=\"chart\" role=\"img\" aria-label=\"");
        self.push_escaped(label);
        self.0.push_str("\">");
        self.0.push_str(chart.markup());
        self.0.push_str("</div>");
    }

    /// A bar over a share of the cell's width.
    pub(super) fn bar(&mut self, share: f64) {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.0.push_str(&format!("<i class=\"bar\"><i style=\"width:{:.1}%\"></i></i>", 100.0 * share));
    }

    /// A table that scrolls sideways where it is wider than the page. `heads` are its columns: a class and a text each.
    pub(super) fn table(&mut self, heads: &[(&'static str, &str)], rows: impl FnOnce(&mut Self)) {
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
    pub(super) fn into_string(self) -> String {
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
