//! Shell lines as a real parser sees them: the simple commands that would become processes.

use brush_parser::ast::{
    AndOr, Command, CommandPrefixOrSuffixItem, CompoundCommand, CompoundList, Pipeline, Program,
    SimpleCommand,
};
use brush_parser::{Parser, ParserOptions, unquote_str};

/// Builtins start no process.
const BUILTINS: [&str; 37] = [
    ".", ":", "[", "alias", "bg", "break", "case", "cd", "command", "continue", "declare", "echo",
    "eval", "exec", "exit", "export", "false", "fg", "getopts", "hash", "history", "jobs", "let",
    "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "shopt", "source",
    "test", "trap", "true", "unset",
];
/// A script with more commands than this is cut.
const MOST: usize = 24;

/// Arguments of every simple command in `line`, builtins included, in the order of the text.
/// `None` when it is not a shell program.
pub fn commands(line: &str) -> Option<Vec<Vec<String>>> {
    let program = Parser::new(line.as_bytes(), &ParserOptions::default())
        .parse_program()
        .ok()?;
    let mut found = Vec::new();
    walk_program(&program, &mut found);
    found.truncate(MOST);
    Some(found)
}

/// Whether a simple command starts a process.
pub fn starts_process(argv: &[String]) -> bool {
    argv.first().is_some_and(|name| {
        !name.is_empty()
            && BUILTINS.binary_search(&name.as_str()).is_err()
            && !name.starts_with('$')
    })
}

fn walk_program(program: &Program, found: &mut Vec<Vec<String>>) {
    for list in &program.complete_commands {
        walk_list(list, found);
    }
}

fn walk_list(list: &CompoundList, found: &mut Vec<Vec<String>>) {
    for item in &list.0 {
        walk_pipeline(&item.0.first, found);
        for next in &item.0.additional {
            let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
            walk_pipeline(pipeline, found);
        }
    }
}

fn walk_pipeline(pipeline: &Pipeline, found: &mut Vec<Vec<String>>) {
    for command in &pipeline.seq {
        match command {
            Command::Simple(simple) => walk_simple(simple, found),
            Command::Compound(compound, _) => walk_compound(compound, found),
            Command::Function(function) => walk_compound(&function.body.0, found),
            Command::ExtendedTest(..) => {}
        }
    }
}

fn walk_compound(compound: &CompoundCommand, found: &mut Vec<Vec<String>>) {
    match compound {
        CompoundCommand::BraceGroup(group) => walk_list(&group.list, found),
        CompoundCommand::Subshell(subshell) => walk_list(&subshell.list, found),
        CompoundCommand::ForClause(clause) => walk_list(&clause.body.list, found),
        CompoundCommand::ArithmeticForClause(clause) => walk_list(&clause.body.list, found),
        CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
            walk_list(&clause.0, found);
            walk_list(&clause.1.list, found);
        }
        CompoundCommand::IfClause(clause) => {
            walk_list(&clause.condition, found);
            walk_list(&clause.then, found);
            for other in clause.elses.iter().flatten() {
                if let Some(condition) = &other.condition {
                    walk_list(condition, found);
                }
                walk_list(&other.body, found);
            }
        }
        CompoundCommand::CaseClause(clause) => {
            for list in clause.cases.iter().filter_map(|case| case.cmd.as_ref()) {
                walk_list(list, found);
            }
        }
        CompoundCommand::Arithmetic(_) | CompoundCommand::Coprocess(_) => {}
    }
}

fn walk_simple(simple: &SimpleCommand, found: &mut Vec<Vec<String>>) {
    let mut argv = Vec::new();
    if let Some(name) = &simple.word_or_name {
        argv.push(unquote_str(&name.value));
    }
    for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
        match item {
            CommandPrefixOrSuffixItem::Word(word)
            | CommandPrefixOrSuffixItem::AssignmentWord(_, word) => {
                argv.push(unquote_str(&word.value));
            }
            CommandPrefixOrSuffixItem::ProcessSubstitution(_, subshell) => {
                walk_list(&subshell.list, found);
            }
            CommandPrefixOrSuffixItem::IoRedirect(_) => {}
        }
    }
    if !argv.is_empty() {
        found.push(argv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, wanted: &[&[&str]]) {
        assert_eq!(commands(line).unwrap(), wanted, "{line}");
    }

    #[test]
    fn a_line_becomes_its_simple_commands() {
        check(
            "ls -l | grep 'a b' > /tmp/x",
            &[&["ls", "-l"], &["grep", "a b"]],
        );
        check(
            "if test -f a; then tar cf a.tar a; fi",
            &[&["test", "-f", "a"], &["tar", "cf", "a.tar", "a"]],
        );
        check(
            "for h in a b; do ssh $h uptime; done",
            &[&["ssh", "$h", "uptime"]],
        );
        check("A=1", &[]);
        assert!(commands("echo 'unterminated").is_none());
    }

    #[test]
    fn builtins_start_nothing() {
        assert!(BUILTINS.is_sorted());
        for (line, starts) in [("cd /tmp", false), ("ls", true), ("$X a", false)] {
            assert_eq!(
                starts_process(&commands(line).unwrap()[0]),
                starts,
                "{line}"
            );
        }
    }
}
