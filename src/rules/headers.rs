//! The headers of all files of a folder, and what they say of each other.
//!
//! Takes the files' texts; hands on the headers that can be used and every finding: an id that two files share, and a
//! shadow version that can't be compared with the live rule that it names.

use std::collections::HashMap;
use std::sync::Arc;

use super::header::{Header, Status};
use super::{AnswerOrder, RuleFiles};
use crate::diagnostic::{Diagnostic, Severity, SourceText, suggest};

/// Headers of all files, the files whose header can't be used, and why.
#[derive(Default)]
pub(super) struct Headers {
    pub sound: Vec<(Header, Arc<SourceText>)>,
    pub broken: Vec<Arc<SourceText>>,
    pub findings: Vec<Diagnostic>,
}

/// Reads the headers of all files; an id that two files share is an error in the second.
pub(super) fn read_all(files: &RuleFiles, order: AnswerOrder) -> Headers {
    let mut headers = Headers::default();
    let mut files_by_id: HashMap<String, String> = HashMap::new();
    for source in &files.rules {
        let found = match Header::read(source) {
            Ok(header) => match files_by_id.get(&header.id) {
                Some(other) => vec![repeated_id(&header, source, other)],
                None => {
                    files_by_id.insert(header.id.clone(), source.file.clone());
                    headers.sound.push((header, Arc::clone(source)));
                    continue;
                }
            },
            Err(found) => found,
        };
        headers.findings.extend(found);
        headers.broken.push(Arc::clone(source));
    }
    headers.check_versions(files, order);
    headers
}

fn repeated_id(header: &Header, source: &Arc<SourceText>, other: &str) -> Diagnostic {
    let message = format!("another rule has the id {}", header.id);
    let help = format!("it stands in {other}; alerts and history follow the id, so each rule needs its own");
    Diagnostic::error(source, header.place("id"), message).with_help(help).with_code("header")
}

impl Headers {
    /// Leaves out shadow versions of what they can't be versions of.
    fn check_versions(&mut self, files: &RuleFiles, order: AnswerOrder) {
        let finding = |own: &(Header, Arc<SourceText>)| self.misfit(own, files, order);
        let findings: Vec<Option<Diagnostic>> = self.sound.iter().map(finding).collect();
        for (own, found) in std::mem::take(&mut self.sound).into_iter().zip(&findings) {
            match found {
                Some(found) if found.severity == Severity::Error => self.broken.push(own.1),
                _ => self.sound.push(own),
            }
        }
        self.findings.extend(findings.into_iter().flatten());
    }

    /// Why a rule is no shadow version of the one that it names, or nothing live is there to compare it with.
    fn misfit(
        &self,
        (header, source): &(Header, Arc<SourceText>),
        files: &RuleFiles,
        order: AnswerOrder,
    ) -> Option<Diagnostic> {
        let named = header.shadow_of.as_deref()?;
        let error = |message: String, help: String| {
            let place = header.place("shadow_of");
            Some(Diagnostic::error(source, place, message).with_help(help).with_code("header"))
        };
        if header.status == Status::Live {
            return error(
                format!("a live rule is no shadow version of {named}"),
                format!(
                    "write `-- @status: shadow`; to promote it, give {named} its query and drop this file"
                ),
            );
        }
        if named == header.id {
            let help = "give the version an id of its own, and name the id of the live rule here".to_owned();
            return error(format!("{named} can't be a shadow version of itself"), help);
        }
        let Some((live, _)) = self.sound.iter().find(|(other, _)| other.id == named) else {
            // Of one file alone, or beside a broken header, nothing can be said.
            let ids = files.ids();
            if files.alone || ids.contains(named) {
                return None;
            }
            let near = suggest(named, ids.iter().map(String::as_str));
            let help = near.map_or_else(
                || "name the id of the live rule that this one is to be compared with".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            return error(format!("no rule has the id {named}"), help);
        };
        if let Some(its) = &live.shadow_of {
            let help = format!("write `-- @shadow_of: {its}`: a live rule may have any number of versions");
            return error(format!("{named} is a shadow version itself"), help);
        }
        if order.of(live) != order.of(header) {
            let help =
                "give both the same `@emit`: their hits are compared event by event as they come".to_owned();
            return error(format!("{named} is answered in another order"), help);
        }
        (live.status != Status::Live).then(|| {
            let message =
                format!("{named} is not live ({}), so there is nothing to compare with", live.status.name());
            Diagnostic::warning(source, header.place("shadow_of"), message).with_code("header")
        })
    }
}
