//! How a verb ends.

use std::process::{ExitCode, Termination};

/// Exit codes, as `interfaces` promises them to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well, or a clean stop was asked for.
    Fine = 0,
    /// There are findings: a broken rule, a failing test.
    Findings = 1,
    /// The command line or the settings can't be used.
    Usage = 2,
    /// A broker, a disk or the network failed.
    Outside = 3,
    /// Going on would risk wrong answers.
    Refused = 4,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why a verb could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What to tell the user: what was tried, where, and what to do.
    pub message: String,
}

impl Failure {
    /// A command line or settings that can't be used.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// A broker, disk or network that failed.
    pub fn outside(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Outside, message: message.to_string() }
    }

    /// Findings that stop the verb.
    pub fn findings(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Findings, message: message.to_string() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
