//! A model's own Jinja chat template, rendered as transformers does, with bounds.

mod functions;

use std::io::{self, Write};

use minijinja::{AutoEscape, Environment, context};

use crate::dialogue::Message;
use crate::error::TextError;

/// Template instructions allowed in one rendering; published templates use a few hundred per
/// message.
const FUEL: u64 = 5_000_000;
/// Text allowed in one rendering.
const MAX_BYTES: usize = 64 << 20;

/// A parsed chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// The source without what only transformers understands.
    executable: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Parses the template. `bos_token` and `eos_token` are its variables of these names (empty if
    /// the model has none).
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TextError> {
        let executable = without_generation_marks(source);
        environment()
            .template_from_str(&executable)
            .map_err(template_error)?;
        Ok(Self {
            source: source.to_owned(),
            executable,
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
        })
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders the messages; with `add_generation_prompt` the text ends where the assistant begins.
    /// `strftime_now` gives a fixed day (26 July 2024, the one published templates fall back to):
    /// an experiment must not change overnight.
    ///
    /// # Errors
    /// `raise_exception` called by the template, an undefined operation, or more than the bounded
    /// number of steps or bytes.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        let env = environment();
        let template = env
            .template_from_str(&self.executable)
            .map_err(template_error)?;
        let values = context! {
            messages, add_generation_prompt,
            bos_token => self.bos_token, eos_token => self.eos_token,
            tools => (), documents => (),
        };
        let mut out = Bounded(Vec::new());
        template
            .render_captured_to(values, &mut out)
            .map_err(template_error)?;
        String::from_utf8(out.0).map_err(|e| TextError::Template {
            reason: e.to_string(),
        })
    }
}

/// Jinja as transformers sets it up: blocks trimmed, no escaping, Python's string methods.
fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_fuel(Some(FUEL));
    env.add_function("raise_exception", functions::raise_exception);
    env.add_function("strftime_now", functions::strftime_now);
    env.add_filter("tojson", functions::tojson);
    env
}

fn template_error(error: minijinja::Error) -> TextError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        reason = format!("{reason}: {inner}");
        cause = inner.source();
    }
    TextError::Template { reason }
}

/// `{% generation %}` marks the assistant's words for loss masks in transformers; for the text it
/// is a block like any other, so `{% if true %}` takes its place.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let end = start + length;
        let inner = &rest[start + 2..end];
        let word = inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        out.push_str(&rest[..start + 2]);
        match word {
            "generation" => out.push_str(&inner.replace(word, " if true ")),
            "endgeneration" => out.push_str(&inner.replace(word, " endif ")),
            _ => out.push_str(inner),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Collects text up to a limit.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(io::Error::other(format!(
                "the text exceeds {MAX_BYTES} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
