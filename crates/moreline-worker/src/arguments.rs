//! The command line, read by hand: two commands do not need a parser.

use std::collections::BTreeMap;
use std::path::PathBuf;

use moreline_protocol::spec::Precision;
use moreline_worker::forward::Request;

/// What `--help` says.
pub(crate) const HELP: &str = "\
Computes what the engine, `moreline`, asks for.

Usage:
  moreline-worker run --job FILE
      Runs one stage. The engine starts this; events go to standard output as
      JSON lines, and the end of standard input ends the program.

  moreline-worker forward --model DIR|GGUF --input IN --output OUT
                          [--precision fp32|bf16] [--device cpu|cuda|cuda:N]
      Runs a language model on token ids, for comparison with other programs.
      IN is a safetensors file with int64 or int32 tensors
        input_ids           [B, T]  token ids; what lies beyond a length is ignored
        lengths             [B]     tokens of each row, 1 to T
      OUT is one with fp32 tensors
        logits_row{i}       [lengths[i], V]  for each row i from 0
        final_hidden        [B, T, H]        after the final norm, 0 beyond the length
        next_token_logprob  [B, T - 1]       ln p(token t + 1 | tokens 0 to t) in
                                             column t, 0 where there is no token t + 1
      fp32 on the CPU unless told otherwise.

  moreline-worker --help | --version";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run a job.
    Run(PathBuf),
    /// Run a model on token ids.
    Forward(Request),
    /// Say [`HELP`].
    Help,
    /// Say the version.
    Version,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// What is wrong with them, as a sentence.
pub(crate) fn parse(arguments: &[&str]) -> Result<Command, String> {
    match arguments {
        ["--help" | "-h" | "help"] | [_, "--help" | "-h"] => Ok(Command::Help),
        ["--version" | "-V"] => Ok(Command::Version),
        ["run", rest @ ..] => {
            let mut options = options(rest, &["--job"])?;
            required(&mut options, "--job").map(|job| Command::Run(job.into()))
        }
        ["forward", rest @ ..] => forward(rest).map(Command::Forward),
        [other, ..] => Err(format!("there is no command `{other}`")),
        [] => Err("a command is missing".into()),
    }
}

fn forward(arguments: &[&str]) -> Result<Request, String> {
    let known = ["--model", "--input", "--output", "--precision", "--device"];
    let mut options = options(arguments, &known)?;
    let precision = match options.remove("--precision") {
        None | Some("fp32") => Precision::Fp32,
        Some("bf16") => Precision::Bf16,
        Some(other) => return Err(format!("`--precision` is `fp32` or `bf16`, not `{other}`")),
    };
    Ok(Request {
        model: required(&mut options, "--model")?.into(),
        input: required(&mut options, "--input")?.into(),
        output: required(&mut options, "--output")?.into(),
        precision,
        device: options.remove("--device").unwrap_or("cpu").into(),
    })
}

/// Options and their values, `--name value` or `--name=value`, each at most once.
fn options<'a>(
    arguments: &[&'a str],
    known: &[&str],
) -> Result<BTreeMap<&'a str, &'a str>, String> {
    let mut found = BTreeMap::new();
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        if !known.contains(&name) {
            return Err(format!("there is no option `{name}`"));
        }
        let value = value.or_else(|| rest.next().copied());
        let value = value.ok_or_else(|| format!("`{name}` needs a value"))?;
        if found.insert(name, value).is_some() {
            return Err(format!("`{name}` is given twice"));
        }
    }
    Ok(found)
}

fn required<'a>(options: &mut BTreeMap<&'a str, &'a str>, name: &str) -> Result<&'a str, String> {
    let value = options.remove(name);
    value.ok_or_else(|| format!("`{name}` is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> String {
        parse(arguments).unwrap_err()
    }

    #[test]
    fn options_come_in_any_order_and_both_forms() {
        let arguments = "forward --output o --precision=bf16 --input i --model m";
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let Ok(Command::Forward(request)) = parse(&arguments) else {
            panic!("a good command line");
        };
        let wanted = Request {
            model: "m".into(),
            input: "i".into(),
            output: "o".into(),
            precision: Precision::Bf16,
            device: "cpu".into(),
        };
        assert_eq!(request, wanted);
        assert!(matches!(parse(&["run", "--job", "j"]), Ok(Command::Run(job)) if job == *"j"));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(refused(&[]), "a command is missing");
        assert_eq!(refused(&["walk"]), "there is no command `walk`");
        assert_eq!(refused(&["run"]), "`--job` is missing");
        assert_eq!(refused(&["run", "--job"]), "`--job` needs a value");
        assert_eq!(
            refused(&["run", "--jobs", "j"]),
            "there is no option `--jobs`"
        );
        let twice = ["forward", "--model", "m", "--model=n"];
        assert_eq!(refused(&twice), "`--model` is given twice");
        let precision = ["forward", "--precision", "fp8"];
        assert!(refused(&precision).contains("not `fp8`"));
    }
}
