//! Rust files as the layer tests see them: the code without comments, strings and
//! character literals, line by line.

use std::path::{Path, PathBuf};

/// One Rust file.
pub(super) struct SourceFile {
    /// Relative to the workspace, for messages.
    pub(super) path: PathBuf,
    /// As written, for messages.
    lines: Vec<String>,
    /// As long as the text, with everything that is not code blanked out.
    code: String,
}

/// A path that starts at the crate's root, as in `crate::NAME`.
pub(super) struct Import {
    /// The first name after the root.
    pub(super) name: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// Reads every `.rs` file below `root/folder`, in the order of their paths.
pub(super) fn read_all(root: &Path, folder: &str) -> Vec<SourceFile> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let relative = path.strip_prefix(root).expect("below the root").to_owned();
                found.push(SourceFile::new(relative, &text));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

impl SourceFile {
    /// The file at `path` (relative to the workspace) with this text.
    pub(super) fn new(path: PathBuf, text: &str) -> Self {
        Self {
            path,
            lines: text.lines().map(str::to_owned).collect(),
            code: blank_text(text),
        }
    }

    /// Whether the file is below this folder of the workspace.
    pub(super) fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// The top-level module of `src/` the file belongs to; `None` for the crate's roots.
    pub(super) fn layer(&self) -> Option<String> {
        let inside = self.path.strip_prefix("src").ok()?;
        let first = Path::new(inside.components().next()?.as_os_str());
        let name = first.file_stem()?.to_str()?.to_owned();
        let is_root = inside == first && ["lib", "main"].contains(&name.as_str());
        (!is_root).then_some(name)
    }

    /// `path:line`, with the line counted from 1.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// Each line of code that holds this word, as `path:line: text`.
    pub(super) fn words(&self, word: &str) -> Vec<String> {
        self.positions(word)
            .into_iter()
            .map(|at| self.quote(at))
            .collect()
    }

    /// Each line of code with a path that starts with this name (`name::`).
    pub(super) fn paths_from(&self, name: &str) -> Vec<String> {
        self.positions(name)
            .into_iter()
            .filter(|at| self.code[at + name.len()..].trim_start().starts_with("::"))
            .map(|at| self.quote(at))
            .collect()
    }

    /// What the file takes from the crate's root: `crate::a`, `crate::{a, b::c}`, and
    /// `super::super::a` where that many steps reach the root.
    pub(super) fn crate_imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for at in self.positions("crate") {
            self.names_after(at + "crate".len(), &mut imports);
        }
        for at in self.positions("super") {
            if let Some(end) = self.climbs_to_root(at) {
                self.names_after(end, &mut imports);
            }
        }
        imports.sort_by_key(|import| import.line);
        imports
    }

    /// Where a chain of `super` that starts here ends, if it leaves the file's layer.
    fn climbs_to_root(&self, at: usize) -> Option<usize> {
        if self.code[..at].trim_end().ends_with("super::") {
            return None; // in the middle of a chain: seen from its start
        }
        let mut steps = 1;
        let mut end = at + "super".len();
        while let Some(rest) = self.code[end..].strip_prefix("::super") {
            end = self.code.len() - rest.len();
            steps += 1;
        }
        (steps >= self.module_depth()).then_some(end)
    }

    /// How many modules deep the file is: 1 for `src/plan.rs` and `src/plan/mod.rs`.
    fn module_depth(&self) -> usize {
        let parts = self.path.components().count() - 1;
        if self.path.ends_with("mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    /// Collects the first names of `::name...` or `::{name, name::...}` at `at`.
    fn names_after(&self, at: usize, imports: &mut Vec<Import>) {
        let Some(rest) = self.code[at..].strip_prefix("::") else {
            return;
        };
        let start = self.code.len() - rest.len();
        if !rest.starts_with('{') {
            imports.extend(self.name_at(start));
            return;
        }
        let mut depth = 0;
        for (offset, letter) in rest.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => {}
                _ => continue,
            }
            if depth == 0 {
                return;
            }
            if depth == 1 && letter != '}' {
                imports.extend(self.name_at(start + offset + 1));
            }
        }
    }

    fn name_at(&self, start: usize) -> Option<Import> {
        let rest = self.code[start..].trim_start();
        let start = self.code.len() - rest.len();
        let name: String = rest.chars().take_while(|&letter| is_word(letter)).collect();
        (!name.is_empty()).then(|| Import {
            name,
            line: self.line_of(start),
        })
    }

    /// The byte offsets at which the code has this whole word.
    fn positions(&self, word: &str) -> Vec<usize> {
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|&at| !self.code[..at].ends_with(is_word))
            .filter(|&at| !self.code[at + word.len()..].starts_with(is_word))
            .collect()
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }

    fn quote(&self, at: usize) -> String {
        let line = self.line_of(at);
        format!("{}: {}", self.place(line), self.lines[line - 1].trim())
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The text with comments, strings and character literals replaced by spaces, so
/// that lines stay where they are.
fn blank_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = text_length(rest, code.ends_with(is_word));
        let (taken, keep) = if length == 0 {
            (first.len_utf8(), true)
        } else {
            (length, false)
        };
        for letter in rest[..taken].chars() {
            code.push(if keep || letter == '\n' { letter } else { ' ' });
        }
        rest = &rest[taken..];
    }
    code
}

/// How many bytes of comment or literal the text starts with; 0 if it starts with code.
fn text_length(text: &str, after_word: bool) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment_length(text);
    }
    if text.starts_with('"') {
        return string_length(text);
    }
    if text.starts_with('\'') {
        return char_length(text);
    }
    if text.starts_with('r') && !after_word {
        return raw_string_length(text);
    }
    if text.starts_with("br") && !after_word {
        let length = raw_string_length(&text[1..]);
        return if length == 0 { 0 } else { length + 1 };
    }
    0
}

/// Block comments nest.
fn block_comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `'x'` and `'\n'` are literals; `'static` is a lifetime and stays code.
fn char_length(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => {
            letters.next();
            letters
                .find(|&(_, letter)| letter == '\'')
                .map_or(0, |(at, _)| at + 1)
        }
        Some(_) => letters
            .next()
            .filter(|&(_, letter)| letter == '\'')
            .map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// `r"..."` and `r#"..."#`; raw identifiers (`r#type`) are code.
fn raw_string_length(text: &str) -> usize {
    let hashes = text[1..]
        .chars()
        .take_while(|&letter| letter == '#')
        .count();
    let inside = &text[1 + hashes..];
    if !inside.starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    inside[1..]
        .find(&end)
        .map_or(text.len(), |at| 1 + hashes + 1 + at + end.len())
}
