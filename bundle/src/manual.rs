//! Man pages and completions, made from the programs' own descriptions of their settings.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use error::Result;

use super::written;

/// Where the completions of each shell lie below `share`.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

/// Writes all of them below `share`, where `man` and the shells look for them.
///
/// # Errors
/// [`error::Error::Access`] where a file cannot be written.
pub(super) fn write(share: &Path) -> Result<()> {
    let man = share.join("man/man1");
    written(&man, fs::create_dir_all(&man))?;
    for (name, command) in
        [("train", train::settings::Arguments::command()), ("predict", predict::settings::Arguments::command())]
    {
        for (shell, folder) in SHELLS {
            let folder = share.join(folder);
            written(&folder, fs::create_dir_all(&folder))?;
            written(&folder, clap_complete::generate_to(shell, &mut command.clone(), name, &folder))?;
        }
        written(&man, clap_mangen::generate_to(command, &man))?;
    }
    Ok(())
}
