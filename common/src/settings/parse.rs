//! The command line and the environment into typed arguments, or one line that names the setting.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::error::ErrorKind;
use clap::{Arg, FromArgMatches};

use crate::{Error, Result};

/// What the arguments came to.
#[derive(Debug)]
pub enum Parsed<T> {
    /// Arguments to run with.
    Run(Box<T>),
    /// Help or the version was asked for: the text to print.
    Print(String),
}

/// Parses `arguments` (the program's name first). A flag wins over its variable; an empty variable counts as unset.
///
/// # Errors
/// [`Error::Setting`], one line naming the setting.
pub fn parse<T: clap::CommandFactory + FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<T>> {
    let command = without_empty_variables(T::command());
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let text = error.render();
            let is_for_people = std::io::stdout().is_terminal();
            return Ok(Parsed::Print(if is_for_people { text.ansi().to_string() } else { text.to_string() }));
        }
        Err(error) => return Err(one_line(&error)),
    };
    let parsed = T::from_arg_matches(&matches).map_err(|error| one_line(&error))?;
    Ok(Parsed::Run(Box::new(parsed)))
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let subcommands: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = command.mut_args(forget_empty_variable);
    subcommands.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_empty_variables))
}

fn forget_empty_variable(argument: Arg) -> Arg {
    let is_empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    if is_empty { argument.env(None::<&'static str>) } else { argument }
}

/// clap explains itself over several lines; the first paragraph says it all.
fn one_line(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words = paragraph.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Setting(format!("{words} (see --help)"))
}
