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
    let body = match new {
        Some(new) => unified(&format!("a/{file}"), old, &format!("b/{file}"), new),
        None => unified(&format!("a/{file}"), old, "/dev/null", ""),
    };
    match (body.is_empty(), new) {
        (true, _) => String::new(),
        (false, Some(_)) => format!("diff --git a/{file} b/{file}\n{body}"),
        (false, None) => format!("diff --git a/{file} b/{file}\ndeleted file mode 100644\n{body}"),
    }
}
