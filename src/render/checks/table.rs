//! A table with a frame, as conftest draws it.

use super::{Check, Outcome};
use crate::render::inert::line;

const HEADER: [&str; 4] = ["RESULT", "FILE", "NAMESPACE", "MESSAGE"];

/// All checks, a row each; nothing where there are none.
pub fn draw(checks: &[Check]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; 4]> = checks.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count()).chain([HEADER[column].len()]);
        cells.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let rule = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+\n";
    let drawn = |row: &[String; 4]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("| {cell:<width$} "));
        cells.collect::<String>() + "|\n"
    };
    let body: String = rows.iter().map(drawn).collect();
    format!("{rule}{}{rule}{body}{rule}", drawn(&HEADER.map(String::from)))
}

fn row(check: &Check) -> [String; 4] {
    let said = if check.outcome == Outcome::Passed { check.name.clone() } else { check.said() };
    [check.outcome.word().into(), line(&check.file), line(&check.namespace), line(&said)]
}

#[cfg(test)]
mod tests {
    use super::super::tests::some;
    use super::*;

    #[test]
    fn a_row_for_each_check_in_columns_of_one_width() {
        let text = draw(&some());
        let widths: std::collections::BTreeSet<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "{text}");
        assert!(text.contains("\n| RESULT  | FILE                   | NAMESPACE    | MESSAGE "), "{text}");
        assert!(
            text.contains("\n| success | policies/a,b_test.rego | argus.a_test | data.argus.a_test.test_good "),
            "{text}"
        );
        assert!(text.contains("\n| skipped | "), "{text}");
        assert_eq!(draw(&[]), "");
    }
}
