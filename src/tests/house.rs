//! The rules of the house, as far as a machine can check them. Every rule is shown able to fail by a small bad world.

mod floors;
mod homes;
mod texts;

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file: its path under `src/` and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    /// The path of the module that the file holds: `model/kinds/mod.rs` is `[model, kinds]`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }

    /// The module right under the crate that the file belongs to.
    fn top(&self) -> &str {
        self.module()[0]
    }
}

/// The text with comments, strings and characters blanked out, line by line as long as before.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |code: &mut String, part: &[char]| {
        code.extend(part.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    while at < chars.len() {
        let rest = &chars[at..];
        let starts = |head: &str| head.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
        let word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let length = if starts("//") {
            rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
        } else if starts("/*") {
            let end = (2..rest.len()).find(|i| rest[*i] == '/' && rest[*i - 1] == '*' && *i > 2);
            end.map_or(rest.len(), |end| end + 1)
        } else if !word_before && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
            raw_string_length(rest).unwrap_or(0)
        } else if starts("\"") {
            let mut end = 1;
            while end < rest.len() && rest[end] != '"' {
                end += if rest[end] == '\\' { 2 } else { 1 };
            }
            (end + 1).min(rest.len())
        } else if starts("'\\") {
            rest.iter().skip(3).position(|c| *c == '\'').map_or(0, |end| end + 4)
        } else if starts("'") && rest.get(2) == Some(&'\'') {
            3
        } else {
            0
        };
        if length == 0 {
            code.push(chars[at]);
            at += 1;
        } else {
            blank(&mut code, &rest[..length]);
            at += length;
        }
    }
    code
}

/// How long the raw string is that starts here, if one does (`r#type` is none).
fn raw_string_length(rest: &[char]) -> Option<usize> {
    let open = rest.iter().position(|c| *c == 'r')? + 1;
    let hashes = rest[open..].iter().take_while(|c| **c == '#').count();
    if rest.get(open + hashes) != Some(&'"') {
        return None;
    }
    let start = open + hashes + 1;
    let closes =
        |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (start..rest.len()).find(closes).map(|end| end + 1 + hashes)
}

/// Whether the code mentions this path as a path of its own (`tokio::`, not `my_tokio::` or `x::tokio::y`).
fn mentions(code: &str, name: &str) -> Option<usize> {
    let in_word = |text: &str| text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let own = |at: usize| {
        let head = code[..at].trim_end_matches("::");
        // `chrono::Utc::now` is `Utc::now`, and `::sqlx` is `sqlx`; `x::sqlx` is something else.
        let before = !in_word(head) || (head.len() < at && name.contains("::"));
        let after = &code[at + name.len()..];
        let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let as_path = name.contains("::") || after.starts_with("::") || code[..at].ends_with("use ");
        before && ends && as_path
    };
    code.match_indices(name).map(|(at, _)| at).find(|at| own(*at)).map(|at| code[..at].matches('\n').count() + 1)
}

fn is_under(path: &str, home: &str) -> bool {
    path == home || path.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'))
}

/// A file of the repository: its path from the root and its text.
struct Text {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the repository, without those that its `.gitignore` names at the root.
fn repository_files() -> Vec<PathBuf> {
    fn walk(folder: &Path, ignored: &[PathBuf], files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.ends_with(".git") || ignored.contains(&path) {
                continue;
            }
            if path.is_dir() {
                walk(&path, ignored, files);
            } else {
                files.push(path);
            }
        }
    }
    let ignored = fs::read_to_string(root().join(".gitignore")).expect(".gitignore can be read");
    let ignored: Vec<PathBuf> = ignored.lines().filter_map(|line| Some(root().join(line.strip_prefix('/')?))).collect();
    let mut files = Vec::new();
    walk(root(), &ignored, &mut files);
    files.sort();
    assert!(files.len() > 20, "the repository was not found");
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("it stands in the repository").to_string_lossy().replace('\\', "/")
}

/// The text files of the repository; others (a test's broken UTF-8) are read as far as they go.
fn repository_texts() -> Vec<Text> {
    let text = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file of the repository can be read");
        Text { path: relative(&path), text: String::from_utf8_lossy(&bytes).into_owned() }
    };
    repository_files().into_iter().map(text).collect()
}

fn sources() -> Vec<Source> {
    let source = |file: Text| Some(Source { path: file.path.strip_prefix("src/")?.to_owned(), text: file.text });
    repository_texts().into_iter().filter(|file| file.path.ends_with(".rs")).filter_map(source).collect()
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
