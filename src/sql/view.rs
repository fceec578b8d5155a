//! Views: `CREATE VIEW name AS query`, in `schema.sql` or in files of their own.
//!
//! Takes files of views; puts each into the catalog as its parsed query, with the views it names in place. The
//! order of the files does not matter. A view that is refused is remembered by name, so that the rules that
//! read it point to it instead of repeating its findings.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{
    CreateView, Ident, ObjectName, ObjectNamePart, Query, Spanned, Statement, TableAlias, TableFactor,
    VisitMut, VisitorMut, visit_relations,
};

use super::catalog::Catalog;
use super::contract::{normal, object_name};
use super::error::byte_range;
use super::plan::parse_statements;
use super::{lower, refuse, rewrite};
use crate::diagnostic::{Diagnostic, SourceText};

/// A view that waits for the views it names.
struct Pending {
    name: String,
    view: CreateView,
    source: Arc<SourceText>,
}

/// Adds the views of all files; hands back what is wrong with them.
pub(super) fn add_views(
    catalog: &mut Catalog,
    contract: Option<&Arc<SourceText>>,
    files: &[Arc<SourceText>],
) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut pending: Vec<Pending> = Vec::new();
    for (source, is_contract) in
        contract.map(|source| (source, true)).into_iter().chain(files.iter().map(|f| (f, false)))
    {
        let statements = parse_statements(source).unwrap_or_else(|finding| {
            findings.push(finding);
            Vec::new()
        });
        for statement in statements {
            match statement {
                Statement::CreateView(view) => {
                    let name = object_name(&view.name);
                    let taken = catalog.knows(&name) || pending.iter().any(|other| other.name == name);
                    match unusable(&view, &name, taken) {
                        Some((message, help)) => {
                            findings.push(finding(source, view.name.span(), &message).with_help(help));
                        }
                        None => pending.push(Pending { name, view, source: Arc::clone(source) }),
                    }
                }
                other if !is_contract => findings.push(
                    finding(source, other.span(), "only CREATE VIEW stands in a file of views")
                        .with_help("a rule's query belongs in a file of its own, CREATE TABLE in schema.sql"),
                ),
                _ => {}
            }
        }
    }
    findings.extend(in_order_of_use(catalog, pending));
    findings
}

/// Adds each view once the views it names are there.
fn in_order_of_use(catalog: &mut Catalog, mut pending: Vec<Pending>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    while !pending.is_empty() {
        let names: BTreeSet<String> = pending.iter().map(|view| view.name.clone()).collect();
        let (ready, waiting): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|view| !names_any(&view.view.query, &names));
        let stuck = ready.is_empty();
        for view in ready {
            if let Err(found) = add(catalog, &view) {
                findings.extend(found);
                catalog.broken_views.insert(view.name);
            }
        }
        pending = waiting;
        if stuck {
            for view in std::mem::take(&mut pending) {
                findings.push(
                    finding(
                        &view.source,
                        view.view.name.span(),
                        &format!("view {} is made from itself", view.name),
                    )
                    .with_help("views may name other views, as long as no way leads back"),
                );
                catalog.broken_views.insert(view.name);
            }
        }
    }
    findings
}

fn add(catalog: &mut Catalog, view: &Pending) -> Result<(), Vec<Diagnostic>> {
    refuse::refuse(catalog, &view.source, &view.view.query)?;
    let query = rewrite::rewrite(catalog, &view.source, (*view.view.query).clone())?;
    lower::check(catalog, &view.source, &query)?;
    let mut query = query;
    let _ = VisitMut::visit(&mut query, &mut OwnNames { view: &view.name });
    catalog.views.insert(view.name.clone(), query);
    Ok(())
}

fn unusable(view: &CreateView, name: &str, taken: bool) -> Option<(String, &'static str)> {
    if taken {
        let message = format!("view {name} has the name of another view, stream or list");
        return Some((message, "rename one of them"));
    }
    if !view.columns.is_empty() {
        let message = format!("view {name} names its columns in brackets");
        return Some((message, "name them with AS in its SELECT"));
    }
    None
}

fn names_any(query: &Query, names: &BTreeSet<String>) -> bool {
    visit_relations(query, |relation| match names.contains(&object_name(relation)) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
    .is_break()
}

fn finding(
    source: &Arc<SourceText>,
    span: datafusion_sql::sqlparser::tokenizer::Span,
    message: &str,
) -> Diagnostic {
    Diagnostic::error(source, byte_range(source, span), message).with_code("view")
}

/// Gives the common tables of a view names that no query can use, so that a query may use theirs.
struct OwnNames<'a> {
    view: &'a str,
}

impl OwnNames<'_> {
    fn own(&self, name: &str) -> Ident {
        Ident::with_quote('"', format!("{} of {}", name, self.view))
    }
}

impl VisitorMut for OwnNames<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some(with) = &mut query.with else { return ControlFlow::Continue(()) };
        let names: Vec<String> = with.cte_tables.iter().map(|table| normal(&table.alias.name)).collect();
        for table in &mut with.cte_tables {
            table.alias.name = self.own(&normal(&table.alias.name));
        }
        let _ = VisitMut::visit(query, &mut Renamed { names: &names, own: self });
        ControlFlow::Continue(())
    }
}

/// Puts the new name of a common table where its old one was read, and the old one as its alias.
struct Renamed<'a, 'b> {
    names: &'a [String],
    own: &'a OwnNames<'b>,
}

impl VisitorMut for Renamed<'_, '_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor {
            let old = object_name(name);
            if self.names.contains(&old) {
                *name = ObjectName(vec![ObjectNamePart::Identifier(self.own.own(&old))]);
                alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: Ident::with_quote('"', old),
                    columns: Vec::new(),
                    at: None,
                });
            }
        }
        ControlFlow::Continue(())
    }
}
