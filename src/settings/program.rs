//! The clap command, and properties of its flags.

use super::flags::{BEHAVIOUR, Cli};
use clap::{Arg, ArgAction, Command, CommandFactory};

/// The program with every flag that help, manual and completions show.
pub fn program() -> Command {
    let help = || {
        Arg::new("help")
            .short('h')
            .long("help")
            .action(ArgAction::Help)
            .help("Print help; --help describes each flag")
            .long_help("Print help; -h has a line for each flag")
            .help_heading(BEHAVIOUR)
    };
    let with_help = |command: Command| command.disable_help_flag(true).arg(help());
    Cli::command().mut_subcommands(|command| with_help(command.mut_subcommands(with_help)))
}

/// The program with the hidden flag `--no-NAME` for each revocable one.
pub fn parser() -> Command {
    program().mut_subcommands(|command| {
        let hidden: Vec<Arg> = command
            .get_arguments()
            .filter(|arg| is_revocable(arg))
            .filter_map(|arg| Some((arg.get_id().clone(), arg.get_long()?)))
            .map(|(id, long)| {
                Arg::new(revoking(long))
                    .long(revoking(long))
                    .action(ArgAction::SetTrue)
                    .overrides_with(id)
                    .hide(true)
            })
            .collect();
        command.args(hidden)
    })
}

/// Name of the flag that revokes `long`, without dashes in front.
pub fn revoking(long: &str) -> String {
    format!("no-{long}")
}

/// Whether a configuration file may have this flag.
pub fn is_key(arg: &Arg) -> bool {
    let actions = [ArgAction::Help, ArgAction::Version];
    // `--socket` says which sensor `block` asks.
    let is_of_one_call = matches!(arg.get_long(), Some("config" | "no-config" | "socket"));
    let is_action = actions.iter().any(|it| same(arg.get_action(), it));
    arg.get_long().is_some() && !arg.is_hide_set() && !is_of_one_call && !is_action
}

/// Whether a flag can be revoked: it is a switch, or has no default.
pub fn is_revocable(arg: &Arg) -> bool {
    is_key(arg) && (is_switch(arg) || arg.get_default_values().is_empty())
}

/// Whether a flag has no value.
pub fn is_switch(arg: &Arg) -> bool {
    same(arg.get_action(), &ArgAction::SetTrue)
}

/// Whether a flag may be repeated and collects its values.
pub fn is_list(arg: &Arg) -> bool {
    same(arg.get_action(), &ArgAction::Append)
}

fn same(one: &ArgAction, other: &ArgAction) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// The flag of a subcommand by its key in a configuration file.
pub fn flag<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let mut all = command.get_arguments().filter(|arg| is_key(arg));
    all.find(|arg| arg.get_long() == Some(key))
}
