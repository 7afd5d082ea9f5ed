//! Columns of text.

/// Lays rows out in left-aligned columns, two spaces apart. The last column
/// is not padded.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| visible(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - visible(cell)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Lays rows out as a Markdown table; the first is its heading.
pub(super) fn markdown(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let mut text = String::new();
    for (place, row) in rows.iter().enumerate() {
        for column in 0..count {
            let cell = row.get(column).map_or("", String::as_str);
            text.push_str("| ");
            text.push_str(
                &cell
                    .replace('\\', "\\\\")
                    .replace('|', "\\|")
                    .replace('\n', " "),
            );
            text.push(' ');
        }
        text.push_str("|\n");
        if place == 0 {
            text.push_str(&"| --- ".repeat(count));
            text.push_str("|\n");
        }
    }
    text
}

/// Characters that take room: escape sequences do not.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut escaped = false;
    for character in text.chars() {
        match (escaped, character) {
            (false, '\x1b') => escaped = true,
            (true, 'm') => escaped = false,
            (false, _) => count += 1,
            (true, _) => {}
        }
    }
    count
}

/// A time for people: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A size for people: `512 B`, `1.5 MiB`.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        return format!("{count} B");
    }
    format!("{value:.1} {unit}")
}

/// A number for people: integers as they are, others with about four digits.
pub(super) fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value}");
    }
    if (1e-3..100.0).contains(&value.abs()) {
        return format!("{value:.4}");
    }
    if (100.0..1e6).contains(&value.abs()) {
        return format!("{value:.1}");
    }
    format!("{value:.3e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_without_counting_colours() {
        let rows = [
            vec![
                "a".to_owned(),
                "\x1b[31mbb\x1b[0m".to_owned(),
                "x".to_owned(),
            ],
            vec!["long".to_owned(), "b".to_owned()],
        ];
        assert_eq!(columns(&rows), "a     \x1b[31mbb\x1b[0m  x\nlong  b\n");
    }

    #[test]
    fn cells_cannot_break_a_markdown_table() {
        let rows = [
            vec!["a".to_owned(), "b".to_owned()],
            vec!["x|y\nz".to_owned()],
        ];
        assert_eq!(
            markdown(&rows),
            "| a | b |\n| --- | --- |\n| x\\|y z |  |\n"
        );
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(duration(0.04), "0.0 s");
        assert_eq!(duration(59.6), "1 min 00 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(7620.0), "2 h 07 min");
        assert_eq!(bytes(100), "100 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
        assert_eq!(number(3.0), "3");
        assert_eq!(number(0.12345), "0.1235");
        assert_eq!(number(-3251.6992), "-3251.7");
        assert_eq!(number(1e-5), "1.000e-5");
    }
}
