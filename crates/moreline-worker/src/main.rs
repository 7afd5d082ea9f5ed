//! The worker program: `run` for the engine, `forward` for anyone.

mod arguments;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use arguments::Command;
use moreline_protocol::event::Event;
use moreline_protocol::job::Job;
use moreline_worker::device;
use moreline_worker::forward::{Request, forward};
use moreline_worker::stage::{self, context::Events};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments::parse(&arguments) {
        Ok(Command::Run(job)) => run(&job),
        Ok(Command::Forward(request)) => forward_or_complain(&request),
        Ok(Command::Help) => {
            say(arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Version) => {
            say(&format!("moreline-worker {}", env!("CARGO_PKG_VERSION")));
            say(&device::found());
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            complain(&format!("{mistake}\n\n{}", arguments::HELP));
            ExitCode::from(2)
        }
    }
}

fn forward_or_complain(request: &Request) -> ExitCode {
    let Err(error) = forward(request) else {
        return ExitCode::SUCCESS;
    };
    complain(&format!("failed to {error}"));
    if let Some(hint) = error.hint() {
        complain(&format!("hint: {hint}"));
    }
    ExitCode::FAILURE
}

#[expect(clippy::print_stderr, reason = "the program's own word, not an event")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the program's own word, not an event")]
fn say(text: &str) {
    println!("{text}");
}

fn run(path: &Path) -> ExitCode {
    die_with_the_engine();
    let events = Events::new(Box::new(std::io::stdout()));
    let read = std::fs::read(path).map_err(|e| e.to_string());
    let job = read.and_then(|text| serde_json::from_slice::<Job>(&text).map_err(|e| e.to_string()));
    match job {
        Ok(job) if stage::run(&job, &events) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(reason) => {
            let message = format!("read the job {}: {reason}", path.display());
            events.send(&Event::Failed {
                message,
                hint: None,
            });
            ExitCode::from(2)
        }
    }
}

/// Ends this process when the engine does: by the kernel's parent-death
/// signal, and by end-of-file on the control pipe, whichever comes first.
fn die_with_the_engine() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    std::thread::spawn(|| {
        let mut byte = [0u8; 64];
        while let Ok(read) = std::io::stdin().read(&mut byte) {
            if read == 0 {
                break;
            }
        }
        std::process::exit(1);
    });
}
