//! Cutting a file into rows, with the line each begins on.

use std::io::{self, BufRead};

/// Longest row, in bytes.
pub(crate) const MAX_ROW: usize = 64 << 20;

/// One row as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its text, without surrounding white space.
    pub(crate) text: Vec<u8>,
    /// Line it begins on, from 1.
    pub(crate) line: u64,
    /// Column it begins at in bytes, from 1.
    pub(crate) column: u64,
}

/// Why the file could not be cut further.
#[derive(Debug)]
pub(crate) enum CutError {
    /// Reading failed.
    Io(io::Error),
    /// The text is no array of values; where, and why.
    Syntax {
        /// Line, from 1.
        line: u64,
        /// Column in bytes, from 1.
        column: u64,
        /// What is wrong.
        reason: String,
        /// The row begun, to say more precisely what is wrong with it.
        begun: Option<Element>,
    },
}

impl From<io::Error> for CutError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The rows of a file, one after the other.
pub(crate) struct Elements<R> {
    reader: R,
    layout: Option<Layout>,
    line: u64,
    column: u64,
    rows: u64,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Array,
    Lines,
}

impl<R: BufRead> Elements<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            layout: None,
            line: 1,
            column: 1,
            rows: 0,
            ended: false,
        }
    }

    /// True if the file is one JSON array. Known after the first row.
    pub(crate) fn is_array(&self) -> bool {
        self.layout == Some(Layout::Array)
    }

    /// The next row; its text is empty if `keep` is false.
    pub(crate) fn next(&mut self, keep: bool) -> Result<Option<Element>, CutError> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => self.begin()?,
        };
        let next = match layout {
            _ if self.ended => None,
            Layout::Array => self.next_of_array(keep)?,
            Layout::Lines => self.next_line(keep)?,
        };
        self.rows += u64::from(next.is_some());
        Ok(next)
    }

    /// Tells an array from lines by the first character.
    fn begin(&mut self) -> Result<Layout, CutError> {
        let layout = match self.skip_space()? {
            Some(b'[') => {
                self.bump();
                Layout::Array
            }
            _ => Layout::Lines,
        };
        self.layout = Some(layout);
        Ok(layout)
    }

    fn next_line(&mut self, keep: bool) -> Result<Option<Element>, CutError> {
        if self.skip_space()?.is_none() {
            self.ended = true;
            return Ok(None);
        }
        let (line, column) = (self.line, self.column);
        let mut text = Vec::new();
        while let Some(byte) = self.peek()? {
            if byte == b'\n' {
                break;
            }
            self.bump();
            if keep {
                if text.len() == MAX_ROW {
                    return Err(too_long(Element { text, line, column }));
                }
                text.push(byte);
            }
        }
        trim_end(&mut text);
        Ok(Some(Element { text, line, column }))
    }

    fn next_of_array(&mut self, keep: bool) -> Result<Option<Element>, CutError> {
        let mut first = self.skip_space()?;
        if self.rows > 0 {
            match first {
                Some(b',') => {
                    self.bump();
                    first = self.skip_space()?;
                    if first == Some(b']') {
                        return Err(self.syntax("a comma before the closing `]`", None));
                    }
                }
                Some(b']') => {}
                Some(_) => return Err(self.syntax("expected `,` or `]` after a row", None)),
                None => return Err(self.cut_short(None)),
            }
        }
        match first {
            None => Err(self.cut_short(None)),
            Some(b']') => {
                self.bump();
                self.end_of_array()
            }
            Some(b',') => Err(self.syntax("a comma without a row before it", None)),
            Some(_) => self.element(keep).map(Some),
        }
    }

    fn end_of_array(&mut self) -> Result<Option<Element>, CutError> {
        self.ended = true;
        match self.skip_space()? {
            None => Ok(None),
            Some(_) => Err(self.syntax("text after the array's closing `]`", None)),
        }
    }

    /// One element of the array, from its first byte to the comma or bracket
    /// that follows it.
    fn element(&mut self, keep: bool) -> Result<Element, CutError> {
        let (line, column) = (self.line, self.column);
        let mut text = Vec::new();
        let mut scan = Scan::default();
        loop {
            let begun = |text: Vec<u8>| Element { text, line, column };
            let Some(byte) = self.peek()? else {
                return Err(self.cut_short(Some(begun(text))));
            };
            if byte == b'\n' && scan.in_string {
                return Err(self.syntax(
                    "a line ends inside a string: a quote is missing, or the line break is not \
                     written as \\n",
                    None,
                ));
            }
            if scan.ends_before(byte) {
                trim_end(&mut text);
                return Ok(begun(text));
            }
            scan.step(byte);
            self.bump();
            if keep {
                if text.len() == MAX_ROW {
                    return Err(too_long(begun(text)));
                }
                text.push(byte);
            }
        }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.reader.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Steps over the byte just peeked at.
    fn bump(&mut self) {
        let newline = self
            .reader
            .fill_buf()
            .is_ok_and(|b| b.first() == Some(&b'\n'));
        self.reader.consume(1);
        if newline {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }

    fn skip_space(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.peek()? {
                Some(byte) if byte.is_ascii_whitespace() => self.bump(),
                other => return Ok(other),
            }
        }
    }

    fn syntax(&self, reason: &str, begun: Option<Element>) -> CutError {
        CutError::Syntax {
            line: self.line,
            column: self.column,
            reason: reason.to_owned(),
            begun,
        }
    }

    fn cut_short(&self, begun: Option<Element>) -> CutError {
        self.syntax("the file ends inside the array: it is cut short", begun)
    }
}

fn too_long(begun: Element) -> CutError {
    CutError::Syntax {
        line: begun.line,
        column: begun.column,
        reason: format!("a row of more than {} MiB", MAX_ROW >> 20),
        begun: Some(begun),
    }
}

fn trim_end(text: &mut Vec<u8>) {
    text.truncate(text.trim_ascii_end().len());
}

/// Where in a JSON value we are, just enough to find its end.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// True if the value is over before `byte`.
    fn ends_before(&self, byte: u8) -> bool {
        self.depth == 0 && !self.in_string && matches!(byte, b',' | b']')
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}
