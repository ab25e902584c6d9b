//! Aligned tables: the last column takes what is left of the terminal's width. Cells are made safe by who fills them.

use super::{style, text};

/// Rows of cells under a heading.
#[derive(Debug, Default)]
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    pub fn new(heading: impl IntoIterator<Item = &'static str>) -> Self {
        Self { heading: heading.into_iter().collect(), rows: Vec::new(), right: Vec::new() }
    }

    /// Columns that hold numbers and are aligned to the right.
    #[must_use]
    pub fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.right = columns.into_iter().collect();
        self
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines. With a terminal's `width`, no line is longer than that.
    pub fn render(&self, width: Option<usize>) -> String {
        let heading: Vec<String> = self.heading.iter().map(|title| style::dim(title)).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&heading).chain(&self.rows).collect();
        let columns = self.heading.len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| lines.iter().map(|line| text::width(&line[column])).max().unwrap_or(0))
            .collect();
        lines.into_iter().map(|line| self.line(line, &widths, width)).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize], width: Option<usize>) -> String {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let fill = " ".repeat(widths[column].saturating_sub(text::width(cell)));
            if column > 0 {
                line.push_str("  ");
            }
            match self.right.contains(&column) {
                true => line.extend([fill.as_str(), cell]),
                false => line.extend([cell, fill.as_str()]),
            }
        }
        let line = line.trim_end();
        let cut = width.map_or(line.into(), |width| text::cut(line, width));
        format!("{cut}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_colours_and_wide_letters_they_hold() {
        let mut table = Table::new(["name", "size", "note"]).right([1]);
        table.row(["build".to_owned(), "7".to_owned(), String::new()]);
        table.row([style::green("日本"), "1234".to_owned(), "a note that is long".to_owned()]);
        let plain = |width| anstream::adapter::strip_str(&table.render(width)).to_string();
        insta::assert_snapshot!(plain(None), @r"
        name   size  note
        build     7
        日本   1234  a note that is long
        ");
        insta::assert_snapshot!(plain(Some(20)), @r"
        name   size  note
        build     7
        日本   1234  a no...
        ");
    }
}
