//! What a query may name: streams, views, reference tables, functions.
//!
//! Takes the contract, the text of views and the lists; hands on a [`Catalog`], which the planner asks for
//! schemas. A view is kept as its parsed query and put in place of its name before planning, so a view and
//! the query written out are the same graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_sql::sqlparser::ast::Query;

use super::contract::parse_contract;
use super::list::List;
use super::predict::{Models, PREDICT, Predict, with_baselines};
use super::{functions, view};
use crate::diagnostic::{Diagnostic, SourceText};
use crate::event::Contract;
use crate::score::{Baseline, Model};

/// The files a catalog is made from.
#[derive(Debug, Default)]
pub struct CatalogSources {
    /// `schema.sql`.
    pub contract: Option<Arc<SourceText>>,
    /// Files of `CREATE VIEW` statements.
    pub views: Vec<Arc<SourceText>>,
    /// Reference tables.
    pub lists: Vec<List>,
    /// Models that `predict` may name.
    pub models: Vec<Model>,
    /// What models were trained on, by their names.
    pub baselines: Vec<(String, Baseline)>,
}

/// Streams, views, lists and functions.
pub struct Catalog {
    /// The event contract.
    pub contract: Contract,
    pub(super) views: BTreeMap<String, Query>,
    /// Views that were refused.
    pub(super) broken_views: BTreeSet<String>,
    lists: BTreeMap<String, Arc<List>>,
    models: Arc<Models>,
    sources: HashMap<String, Arc<dyn TableSource>>,
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    windows: HashMap<String, Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.table_names()).finish()
    }
}

/// A table that is only ever planned, never scanned by DataFusion.
#[derive(Debug)]
struct PlannedTable(SchemaRef);

impl TableSource for PlannedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }
}

impl Catalog {
    /// Reads contract and views; views that are refused are left out and reported.
    pub fn build(sources: CatalogSources) -> std::result::Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let contract = match &sources.contract {
            Some(source) => parse_contract(source)?,
            None => Contract::default(),
        };
        let (lists, mut findings) = lists_of_own_names(&contract, sources.lists);
        let mut catalog = Self::over(contract, lists);
        findings.extend(catalog.add_models(sources.models, sources.baselines));
        findings.extend(super::on_large_stack(|| {
            view::add_views(&mut catalog, sources.contract.as_ref(), &sources.views)
        }));
        Ok((catalog, findings))
    }

    /// A catalog without views.
    pub fn over(contract: Contract, lists: Vec<List>) -> Self {
        let mut sources: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
        for stream in &contract.streams {
            sources.insert(stream.name.clone(), Arc::new(PlannedTable(Arc::clone(&stream.schema))));
        }
        for list in &lists {
            sources.insert(list.name.clone(), Arc::new(PlannedTable(list.rows.schema())));
        }
        let mut options = ConfigOptions::default();
        options.execution.time_zone = Some("+00:00".to_owned());
        Self {
            contract,
            views: BTreeMap::new(),
            broken_views: BTreeSet::new(),
            lists: lists.into_iter().map(|list| (list.name.clone(), Arc::new(list))).collect(),
            models: Arc::default(),
            sources,
            scalars: functions::scalars(),
            aggregates: functions::aggregates(),
            windows: functions::windows(),
            planners: functions::planners(),
            options,
        }
    }

    /// Makes models known to `predict`; what is wrong with those that are not.
    fn add_models(&mut self, models: Vec<Model>, baselines: Vec<(String, Baseline)>) -> Vec<Diagnostic> {
        let mut known = Models::default();
        let (models, mut findings) = with_baselines(models, baselines);
        for model in models {
            if let Some(other) = known.sound.get(&model.name) {
                let message =
                    format!("two models are called {}: {} and {}", model.name, other.format, model.format);
                let finding = Diagnostic::file_error(format!("models/{}", model.name), message);
                findings.push(finding.with_help("rename one of them").with_code("model"));
                continue;
            }
            known.sound.insert(model.name.clone(), Arc::new(model));
        }
        self.models = Arc::new(known);
        self.scalars.insert(PREDICT.to_owned(), Arc::new(Predict::over(Arc::clone(&self.models))));
        findings
    }

    /// Models that are used, by name.
    pub fn known_models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.sound.values()
    }

    /// The models that `predict` may name.
    pub(super) fn models(&self) -> Arc<Models> {
        Arc::clone(&self.models)
    }

    /// Name and content hash of each model, for versions.
    pub(crate) fn model_versions(&self) -> Vec<(String, String)> {
        self.models.sound.values().map(|model| (model.name.clone(), model.version.clone())).collect()
    }

    /// The query of a view.
    pub(super) fn view(&self, name: &str) -> Option<&Query> {
        self.views.get(name)
    }

    /// A reference table.
    pub fn list(&self, name: &str) -> Option<&Arc<List>> {
        self.lists.get(name)
    }

    /// Name and content hash of each reference table, for versions.
    pub(crate) fn list_versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lists.values().map(|list| (list.name.as_str(), list.version.as_str()))
    }

    /// Names of all reference tables.
    pub fn list_names(&self) -> Vec<String> {
        self.lists.keys().cloned().collect()
    }

    /// Whether a name in `FROM` is known.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.sources.contains_key(name) || self.views.contains_key(name)
    }

    /// Whether a view of that name was refused.
    pub(super) fn is_broken_view(&self, name: &str) -> bool {
        self.broken_views.contains(name)
    }

    /// Columns of a stream or list; none for other names.
    pub(super) fn columns_of(&self, table: &str) -> Vec<String> {
        let schema = self.sources.get(table).map(|source| source.schema());
        schema.iter().flat_map(|schema| schema.fields().iter().map(|field| field.name().clone())).collect()
    }

    /// Every name that `FROM` accepts.
    pub fn table_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.sources.keys().chain(self.views.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Whether a function aggregates rows and so needs `OVER`.
    pub(super) fn aggregates(&self, name: &str) -> bool {
        self.aggregates.contains_key(name)
    }

    /// Whether a function exists at all.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.scalars.contains_key(name)
            || self.aggregates.contains_key(name)
            || self.windows.contains_key(name)
    }

    /// Every function that a query may call.
    pub(super) fn function_names(&self) -> impl Iterator<Item = &str> {
        self.scalars.keys().chain(self.aggregates.keys()).chain(self.windows.keys()).map(String::as_str)
    }
}

/// Lists that have a name and columns of their own; what is wrong with the others.
fn lists_of_own_names(contract: &Contract, lists: Vec<List>) -> (Vec<List>, Vec<Diagnostic>) {
    let mut kept: Vec<List> = Vec::new();
    let mut findings = Vec::new();
    for list in lists {
        let taken = contract.stream(&list.name).is_some() || kept.iter().any(|other| other.name == list.name);
        let schema = list.rows.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let repeated = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        let message = if taken {
            format!("list {} has the name of another list or of a stream", list.name)
        } else if let Some((_, name)) = repeated {
            format!("list {} has two columns called {name}", list.name)
        } else {
            kept.push(list);
            continue;
        };
        let file = format!("lists/{}", list.name);
        findings
            .push(Diagnostic::file_error(file, message).with_help("rename one of them").with_code("list"));
    }
    (kept, findings)
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let found = self.sources.get(name.table()).map(Arc::clone);
        found.ok_or_else(|| {
            DataFusionError::Plan(format!("no stream, view or list is called '{}'", name.table()))
        })
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(name).map(Arc::clone)
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).map(Arc::clone)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(name).map(Arc::clone)
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.windows.keys().cloned().collect()
    }
}
