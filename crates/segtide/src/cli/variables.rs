//! The variables of the environment that stand for flags: `SEGTIDE_PORT` for what several commands have in common, and
//! `SEGTIDE_READ_FOLLOW` for what one has alone.
//!
//! What stands on the command line comes first. A variable that is empty is as one that is not set, and so is one that says no
//! to a flag that takes no value.

use std::ffi::{OsStr, OsString};

use clap::builder::{BoolishValueParser, Resettable, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

/// Flags without one: `--json` is `--output json`, for which there is one.
const WITHOUT: [&str; 3] = ["help", "version", "json"];

/// The same command line, with a variable for each flag that people know of.
pub fn named(command: Command) -> Command {
    below("SEGTIDE", command)
}

fn below(prefix: &str, command: Command) -> Command {
    let named = command.mut_args(|arg| with_variable(prefix, arg));
    named.mut_subcommands(|command| below(&upper(&format!("{prefix}_{}", command.get_name())), command))
}

fn with_variable(prefix: &str, arg: Arg) -> Arg {
    if arg.is_positional() || arg.is_hide_set() || WITHOUT.contains(&arg.get_id().as_str()) {
        return arg;
    }
    let own = OsString::from(upper(&format!("{prefix}_{}", arg.get_id())));
    let name = arg.get_env().map_or(own, OsStr::to_owned);
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg };
    let is_off = |value: OsString| value.is_empty() || is_switch && says_no(&value);
    match std::env::var_os(&name).is_some_and(is_off) {
        true => arg.env(Resettable::Reset),
        // Whatever stands in a variable may be secret.
        false => arg.env(name).hide_env_values(true),
    }
}

/// Whether this is a no to a flag that takes no value.
fn says_no(value: &OsStr) -> bool {
    BoolishValueParser::new().parse_ref(&Command::new(""), None, value).is_ok_and(|yes| !yes)
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// The same error, which says so where it is about what a variable has.
pub fn blamed(mut error: clap::Error, command: &Command) -> clap::Error {
    let about = [ContextKind::InvalidArg, ContextKind::PriorArg].map(|kind| error.get(kind).map(ToString::to_string));
    let given: Vec<String> = std::env::args().skip(1).collect();
    let mut known = Vec::new();
    flags(command, &given, &mut known);
    let by_variable = known.into_iter().filter(|arg| about.iter().flatten().any(|about| *about == arg.to_string()));
    let blamed: Vec<_> = by_variable.filter_map(|arg| blame(arg, &given)).map(ContextValue::String).collect();
    if let Some(ContextValue::String(tip)) = blamed.into_iter().next() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The flags of the command that was given.
fn flags<'c>(command: &'c Command, given: &[String], found: &mut Vec<&'c Arg>) {
    found.extend(command.get_arguments());
    let names =
        |sub: &&Command| given.iter().any(|word| word == sub.get_name() || sub.get_all_aliases().any(|a| a == word));
    if let Some(sub) = command.get_subcommands().find(names) {
        flags(sub, given, found);
    }
}

/// Says which variable a flag is from that is not on the command line.
fn blame(arg: &Arg, given: &[String]) -> Option<String> {
    let name = arg.get_env()?.to_string_lossy().into_owned();
    std::env::var_os(&name)?;
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let is_it = |word: &String| {
        long.as_ref().is_some_and(|long| word.split('=').next() == Some(long))
            || short.as_ref().is_some_and(|short| word.starts_with(short) && !word.starts_with("--"))
    };
    (!given.iter().any(is_it)).then(|| format!("the value is that of {name} in the environment"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn visit(path: &str, command: &Command, look: &mut impl FnMut(&str, &Arg)) {
        command.get_arguments().for_each(|arg| look(path, arg));
        command.get_subcommands().for_each(|sub| visit(&format!("{path} {}", sub.get_name()), sub, look));
    }

    /// Would catch a flag that can only be given by hand, one whose value stands in help, and two that share a variable but mean
    /// different things.
    #[test]
    fn every_flag_has_a_variable() {
        let mut command = named(Cli::command());
        command.build();
        let mut meanings: BTreeMap<String, String> = BTreeMap::new();
        let mut flags = 0;
        visit("segtide", &command, &mut |path, arg| {
            if arg.is_positional() || arg.is_hide_set() || WITHOUT.contains(&arg.get_id().as_str()) {
                return;
            }
            flags += 1;
            let Some(name) = arg.get_env() else { panic!("{path} {arg} has no variable") };
            let name = name.to_str().unwrap().to_owned();
            assert!(name.starts_with("SEGTIDE_"), "{path} {arg}: {name}");
            assert!(arg.is_hide_env_values_set(), "{path} {arg} shows what {name} has");
            let meaning = meanings.entry(name.clone()).or_insert_with(|| arg.to_string());
            assert_eq!(*meaning, arg.to_string(), "{name} at {path}");
        });
        assert!(flags > 50, "only {flags} flags were found");
        for name in ["SEGTIDE_SOURCE", "SEGTIDE_READ_FOLLOW", "SEGTIDE_TEST_PATTERN", "SEGTIDE_WEBHOOK_PORT"] {
            assert!(meanings.contains_key(name), "{name} is not among {:?}", meanings.keys());
        }
    }

    #[test]
    fn what_says_no() {
        for (value, expected) in [("0", true), ("false", true), ("no", true), ("off", true), ("1", false), ("x", false)]
        {
            assert_eq!(says_no(OsStr::new(value)), expected, "{value}");
        }
    }
}
