//! Unified diffs. The only home of the crate that compares texts.

use similar::TextDiff;

/// The difference of two texts as `diff -u` writes it; empty where there is none.
pub fn unified(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(3).header(old_name, new_name).to_string()
}

/// The difference of a file as `git apply` takes it; without new text the file goes.
pub fn git_patch(file: &str, old: &str, new: Option<&str>) -> String {
    if new == Some(old) {
        return String::new();
    }
    let (before, after) = (git_name("a", file), git_name("b", file));
    // A name with a space ends with a tab where it stands at the end of its line.
    let tab = if file.contains(' ') && !before.starts_with('"') { "\t" } else { "" };
    let gone = if new.is_none() { "deleted file mode 100644\n" } else { "" };
    let to = if new.is_none() { "/dev/null".to_owned() } else { format!("{after}{tab}") };
    let body = unified(&format!("{before}{tab}"), old, &to, new.unwrap_or_default());
    format!("diff --git {before} {after}\n{gone}{body}")
}

/// A name as git writes it: in quotes when it holds signs that could be taken for something else.
fn git_name(side: &str, file: &str) -> String {
    if !file.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        return format!("{side}/{file}");
    }
    let quoted = file.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => c.to_string().bytes().map(|byte| format!("\\{byte:03o}")).collect(),
        c => c.to_string(),
    });
    format!("\"{side}/{}\"", quoted.collect::<String>())
}
