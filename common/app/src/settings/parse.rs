//! The command line and the environment into typed arguments, or one line that names the setting.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::error::ErrorKind;
use clap::{Arg, FromArgMatches};

use error::{Error, Result};

/// What the arguments came to.
#[derive(Debug)]
pub enum Parsed<T> {
    /// Arguments to run with.
    Run(Box<T>),
    /// Help or the version was asked for: the text to print.
    Print(String),
}

/// The setting whose value may be a blank: what stands between the cells of CSV.
const KEEPS_BLANKS: &str = "delimiter";

/// Parses `arguments` (the program's name first). A flag wins over its variable; an empty variable counts as unset. Blanks
/// around a value are cut off.
///
/// # Errors
/// [`Error::Setting`], one line naming the setting.
pub fn parse<T: clap::CommandFactory + FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<T>> {
    let command = without_empty_variables(T::command());
    let matches = match command.try_get_matches_from(without_blanks(arguments)) {
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
    let Some(value) = argument.get_env().and_then(std::env::var_os) else { return argument };
    let keeps_blanks = argument.get_id() == KEEPS_BLANKS;
    let Some(trimmed) = value.to_str().map(str::trim).filter(|_| !keeps_blanks) else {
        return if value.is_empty() { argument.env(None::<&'static str>) } else { argument };
    };
    if trimmed.is_empty() {
        return argument.env(None::<&'static str>);
    }
    if value == trimmed {
        return argument;
    }
    // What clap reads from the environment cannot be changed any more; a default stands in for it.
    argument.env(None::<&'static str>).required(false).default_value(trimmed.to_owned()).hide_default_value(true)
}

/// The arguments with blanks around their values cut off.
fn without_blanks(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut keeps_next = false;
    let trimmed = |argument: OsString| {
        let keeps = std::mem::replace(&mut keeps_next, false);
        let Some(text) = argument.to_str() else { return argument };
        let flag = text.strip_prefix("--").map(|flag| flag.split_once('=').unwrap_or((flag, "")));
        if keeps || flag.is_some_and(|(name, _)| name == KEEPS_BLANKS) {
            keeps_next = !keeps && !text.contains('=');
            return argument;
        }
        match text.split_once('=').filter(|_| flag.is_some()) {
            Some((name, value)) => format!("{name}={}", value.trim()).into(),
            None => text.trim().into(),
        }
    };
    arguments.into_iter().map(trimmed).collect()
}

/// clap explains itself over several lines; the first paragraph says it all.
fn one_line(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words = paragraph.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Setting(format!("{words} (see --help)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_values_are_cut_off() {
        let given =
            ["train", " s3://a b ", "--models", "\tm\n", "--x= a=b ", "--delimiter", " ", "--delimiter=\t", " y "];
        let read = without_blanks(given.map(OsString::from));
        let expected = ["train", "s3://a b", "--models", "m", "--x=a=b", "--delimiter", " ", "--delimiter=\t", "y"];
        assert_eq!(read, expected);
    }
}
